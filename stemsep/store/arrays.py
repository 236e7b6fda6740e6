"""A track's array as TensorStore is told of it, and its shards on their way to the disk."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from stemsep.errors import InputError
from stemsep.store.places import reason
from stemsep.store.records import StoreSpec

_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


def array_spec(spec: StoreSpec, frames: int, kvstore: dict[str, Any], *,
               codecs: Sequence[dict[str, Any]] = (_LITTLE,)) -> dict[str, Any]:
    """Return the description of a track's array for TensorStore. codecs: of a chunk."""
    shards = {"chunk_shape": [spec.shard_frames, 1, *spec.frame_shape]}
    chunks = {"chunk_shape": [spec.chunk_frames, 1, *spec.frame_shape], "codecs": [*codecs],
              "index_codecs": [_LITTLE, {"name": "crc32c"}], "index_location": "start"}
    return {
        "driver": "zarr3",
        "kvstore": kvstore,
        "metadata": {
            "shape": [frames, len(spec.stems), *spec.frame_shape],
            "dimension_names": ["frame", "stem", "channel", "bin", "part"],
            "data_type": "float16",
            "fill_value": 0.0,
            "chunk_grid": {"name": "regular", "configuration": shards},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "codecs": [{"name": "sharding_indexed", "configuration": chunks}],
        },
        # A silent passage is stored as any other, so that a missing file is no silence.
        "store_data_equal_to_fill_value": True,
        "fill_missing_data_reads": False,
        "recheck_cached_data": False,
    }


class Writes:
    """The shards of a track on their way to the disk: one is written while the next is made, no
    more. place: what errors call the track.
    """

    def __init__(self, place: str) -> None:
        self._place, self._pending = place, deque[Any]()

    def __enter__(self) -> "Writes":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what was begun, after a failure too: it would write on while all is removed."""
        try:
            self.wait()
        except InputError:
            if kind is None:
                raise

    def begin(self, view: Any, values: np.ndarray) -> None:
        """Write values to a view of an array, after what was begun before."""
        self.wait()
        self._pending.append(view.write(values))

    def wait(self) -> None:
        """Wait for what was begun."""
        while self._pending:
            self.done(self._pending.popleft())

    def done(self, future: Any) -> Any:
        """Wait for a future; raises InputError where the disk refused."""
        try:
            return future.result()
        # TensorStore's, whatever the cause
        except (ValueError, NotImplementedError, PermissionError) as error:
            raise InputError(f"{self._place}: cannot be written ({reason(error)}); free some "
                             "space, or set config.data.store to a place that you may write "
                             "to") from error
