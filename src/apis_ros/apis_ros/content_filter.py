"""Subscriptions that hear only a part of what is said on a topic."""

from __future__ import annotations

from typing import Any

try:
    from rclpy.subscription_content_filter_options import ContentFilterOptions
except ImportError:  # ROS 2 before Kilted: all is heard, and who listens leaves out the rest
    ContentFilterOptions = None  # type: ignore[assignment,misc]

__all__ = ["only"]


def only(expression: str, *texts: str) -> dict[str, Any]:
    """Options of ``create_subscription`` for messages of which an expression is true.

    It spares work and promises nothing: who listens must bear the rest, too.

    Args:
        expression: Such as ``type > 0`` or ``unit_id = %0``.
        texts: What stands for %0, %1 and so on.
    """
    if ContentFilterOptions is None:
        return {}
    quoted = [f"'{text}'" for text in texts]
    return {"content_filter_options": ContentFilterOptions(expression, quoted)}
