"""What a grid does, as metrics for Prometheus."""
