"""What the nodes share on the ROS graph: names, QoS, conversions, signatures, parameters."""
