"""Describes a device, as far as it decides which wheels run there."""

from dataclasses import dataclass

from osd_edge.errors import Code, DeviceError, shown

_OLDEST_PYTHON = (3, 11)
_WHEEL_MACHINES = ("aarch64", "x86_64")  # onnxruntime's wheels for Linux
_32_BIT_ARM = ("armv6l", "armv7l", "armv8l")


@dataclass(frozen=True)
class Platform:
    """A Linux device: `machine` as `uname -m` has it, `bits` of its Python's pointers.

    `python` is that Python's version (3, 11), `glibc` the C library's (2, 36), None where it is
    another C library.
    """

    machine: str
    bits: int
    python: tuple[int, int]
    glibc: tuple[int, int] | None

    def check_python(self) -> None:
        """Raises DeviceError `device.python` where Python is older than this needs."""
        if self.python < _OLDEST_PYTHON:
            raise DeviceError(
                Code.DEVICE_PYTHON,
                f"the device has Python {_dotted(self.python)}; expected "
                f"{_dotted(_OLDEST_PYTHON)} or later: install one there, and name it",
            )

    def check_wheels(self) -> None:
        """Raises DeviceError `device.wheels` where onnxruntime has no wheel for the device."""
        if self.machine in _32_BIT_ARM or (self.machine == "aarch64" and self.bits == 32):
            raise DeviceError(
                Code.DEVICE_WHEELS,
                f"the device runs a 32-bit system ({shown(self.machine)}, {self.bits}-bit Python), "
                "for which no onnxruntime wheel exists: install 64-bit Raspberry Pi OS",
            )
        if self.machine not in _WHEEL_MACHINES or self.bits != 64:
            raise DeviceError(
                Code.DEVICE_WHEELS,
                f"no onnxruntime wheel exists for {shown(self.machine)}; expected "
                f"{' or '.join(_WHEEL_MACHINES)}: install onnxruntime there by other means",
            )
        if self.glibc is None:
            raise DeviceError(
                Code.DEVICE_WHEELS,
                "the device's C library is not glibc, and onnxruntime's wheels need it: "
                "install onnxruntime there by other means",
            )

    @property
    def tags(self) -> tuple[str, ...]:
        """Lists platform tags of the wheels that run there, the newest first (PEP 600)."""
        assert self.glibc is not None
        major, newest = self.glibc
        minors = range(newest, 16, -1)
        newer = [f"manylinux_{major}_{minor}_{self.machine}" for minor in minors]
        return (*newer, f"manylinux2014_{self.machine}")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
