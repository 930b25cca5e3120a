"""What it means to build for an ECP5 device."""


class Ecp5Target:
    """Stands for an ECP5 platform where no board is meant, as in area reports."""

    device = "LFE5U-85F"


def is_target(platform: object) -> bool:
    """Whether ``platform`` builds for an ECP5 device."""
    return str(getattr(platform, "device", "")).startswith("LFE5U")
