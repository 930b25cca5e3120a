"""What it means to build for an iCE40 UltraPlus device."""


class Ice40Target:
    """Stands for an iCE40UP5K platform where no board is meant, as in timing reports."""

    device = "iCE40UP5K"


def is_target(platform: object) -> bool:
    """Whether ``platform`` builds for an iCE40 UltraPlus device."""
    return str(getattr(platform, "device", "")).startswith("iCE40UP")
