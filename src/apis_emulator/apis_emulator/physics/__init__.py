"""What the emulated hardware does: plain functions and classes of (state, input, dt_s). No ROS, no
clock, no randomness.
"""
