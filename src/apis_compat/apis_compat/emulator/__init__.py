"""The emulator that the original system has, formula by formula, and its HTTP interface.

For comparison, and for programs that were written for Sony CSL's ``apis-emulator`` (commit
25f11d1, Apache-2.0): what is coarse in it stays coarse here. The batteries, converters and lines
that APIS for ROS 2 runs on are those of :mod:`apis_emulator.physics`. See docs/emulator.md.
"""
