"""One unit: composes the machines and routes events to them."""
