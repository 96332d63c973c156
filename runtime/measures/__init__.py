"""Measures of answers against right ones, as the field counts them: plain functions of numpy."""
