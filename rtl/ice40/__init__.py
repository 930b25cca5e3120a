"""iCE40 UltraPlus primitives. The generic components that use them are their twins."""
