"""Activation functions as combinational circuits of LUTs: found, proven and kept."""
