"""What the emulated hardware does: the C++ plant under the names of the units. No ROS, no clock,
no randomness.
"""
