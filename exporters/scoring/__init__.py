"""The torch model of a task, calibration sets, and scores on them."""
