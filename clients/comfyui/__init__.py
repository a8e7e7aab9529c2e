"""A ComfyUI custom node; copy or link this folder into ComfyUI/custom_nodes/."""

from .node import PacerSigmas

NODE_CLASS_MAPPINGS = {"PacerSigmas": PacerSigmas}
NODE_DISPLAY_NAME_MAPPINGS = {"PacerSigmas": "Pacer Sigmas"}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
