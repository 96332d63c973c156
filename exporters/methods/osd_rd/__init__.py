"""Rate–distortion OSD, the method `osd-rd`: small integers where they matter to the answers."""
