"""An emulated Raspberry Pi on an x86-64 machine: 512 MB of memory, arm64, Debian's own Python.

Built here from Debian packages and wheels (`build`), kept in a cache, and run in two ways: as a
whole machine (`boot`), whose memory figures agree with real ones, and program by program
(`user_mode`), which is quicker and tells only whether results are right. Neither can tell how
long something takes on a device, so neither says.
"""
