"""Lets the tests of this folder import what is beside them, and the traces on record."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.with_name("faults"))]
