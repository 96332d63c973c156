"""The method `head`: a head over the base as it is, no delta."""
