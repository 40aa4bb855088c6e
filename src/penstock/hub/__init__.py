"""What was appended, brought to those who read it: one tail for each stream that somebody reads, shared by all."""

from .folds import FOLD_BYTES, Folds
from .following import News, follow
from .frames import NOTHING, Frames, Merge, make_frames
from .hub import WARM_TAILS, Hub, Lag
from .recent import READ_BYTES, SHARED_BYTES
from .subscriber import Subscriber
from .tail import TAIL_BYTES, Status

__all__ = [
    "FOLD_BYTES",
    "NOTHING",
    "READ_BYTES",
    "SHARED_BYTES",
    "TAIL_BYTES",
    "WARM_TAILS",
    "Folds",
    "Frames",
    "Hub",
    "Lag",
    "Merge",
    "News",
    "Status",
    "Subscriber",
    "follow",
    "make_frames",
]
