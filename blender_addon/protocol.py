"""Messages between the add-on and the engine, and how they become ZeroMQ frames.

Both processes import this file, so it uses the standard library and NumPy only. It is also
the specification: the docstring of each message says what answers it. wire.py does the frames.

One message is one multipart ZeroMQ message (a DEALER in the add-on, a ROUTER in the engine):

    frame 0     UTF-8 JSON {"version", "type", "body", "arrays"}
    frame 1...  raw array bytes, C order, little-endian, in the order of "arrays"

An entry of "arrays" is {"field", "dtype", "shape"}. A client says Hello with the token of the
connection file first; everything else is answered with Rejected until it has been welcomed.

Compatibility: a reader ignores body fields that it doesn't know, and a field added later has
a default. Any other change raises PROTOCOL_VERSION.

Units: metres, seconds, radians; right-handed, y up, +z forward; quaternions are wxyz, unit.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from . import wire
from .wire import (
    MAX_FRAME_BYTES,
    MAX_HEADER_BYTES,
    PROTOCOL_VERSION,
    ProtocolError,
    VersionError,
    check_id,
    check_range,
    check_shape,
)

__all__ = [  # what comes from wire.py; the messages below are public anyway
    "MAX_FRAME_BYTES",
    "MAX_HEADER_BYTES",
    "PROTOCOL_VERSION",
    "ProtocolError",
    "VersionError",
]

MAX_CANDIDATES = 64
MAX_SEED = 2**63 - 1 - MAX_CANDIDATES  # candidate i has seed + i, which must fit a generator
MAX_PEOPLE = 64  # of PeopleFound
MAX_PICTURE_SIDE = 256  # pixels of such a picture

FloatArray: TypeAlias = npt.NDArray[np.float32]
ByteArray: TypeAlias = npt.NDArray[np.uint8]


def _no_camera() -> FloatArray:
    return np.zeros((0, 3, 4), dtype=np.float32)


def _no_pictures() -> ByteArray:
    return np.zeros((0, 1, 1, 3), dtype=np.uint8)


# --- messages: add-on to engine ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hello:
    """The first message of a client. Answered by Welcome, or by Rejected."""

    token: str  # of the connection file
    client_name: str = ""  # for the engine's log


@dataclass(frozen=True, kw_only=True)
class LaterPrompt:
    """What a PromptRequest wants done after its first prompt."""

    prompt: str
    num_frames: int  # of the result

    def __post_init__(self) -> None:
        check_range("num_frames of a later prompt", self.num_frames, 1, 10**6)


@dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """Sample motions from text. Answered by JobQueued*, JobProgress*, then count times
    JobResult, or one of JobFailed and JobCancelled; all carry the same job_id."""

    job_id: str  # chosen by the client, unique among its jobs
    prompt: str
    num_frames: int  # of the whole result
    fps: float  # of the result: the scene's; the engine resamples
    model: str = ""  # "" is the engine's default model
    seed: int = -1  # -1: the engine draws one and writes it into the provenance
    num_steps: int = 0  # denoising steps; 0 is the model's default
    guidance_scale: float = 0.0  # 1 is no guidance; 0 is the model's default
    count: int = 1  # candidates; candidate i is sampled with seed + i
    then: list[LaterPrompt] = field(default_factory=list[LaterPrompt])  # the first has the rest
    loop: bool = False  # the last frame is the first pose again

    def __post_init__(self) -> None:
        check_id(self.job_id)
        check_range("num_frames", self.num_frames, 1, 10**6)
        check_range("fps", self.fps, 1.0, 1000.0)
        check_range("seed", self.seed, -1, MAX_SEED)
        check_range("num_steps", self.num_steps, 0, 10_000)
        check_range("guidance_scale", self.guidance_scale, 0.0, 100.0)
        check_range("count", self.count, 1, MAX_CANDIDATES)


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """Recover the motion of one person from a movie. Answered as PromptRequest is.

    Frames of the movie are counted from 0. With movie_fps, frame n is what is shown n / movie_fps
    seconds after the first by the movie's time stamps, which is how Blender counts; without, they
    are counted in the order shown. The motion lasts as long as they do by the time stamps, unless
    `length` says how long.
    """

    job_id: str  # chosen by the client, unique among its jobs
    path: str  # of the movie, absolute, on the engine's computer
    first_frame: int  # of the movie
    num_frames: int  # of the movie
    fps: float  # of the result: the scene's; the engine resamples
    person: int = -1  # -1: the largest; 0, 1 …: in the order in which they appear
    prompt: str = ""  # what is done, for models that take both
    model: str = ""  # "" is the engine's default model for video
    seed: int = -1  # -1: the engine draws one and writes it into the provenance
    num_steps: int = 0  # 0 is the model's default
    guidance_scale: float = 0.0  # 0 is the model's default
    count: int = 1
    movie_fps: float = 0.0  # see above; 0: frames are counted one by one
    lifter: str = ""  # what lifts keypoints, where `model` betters that; "" is the default
    click_frame: int = -1  # of the movie: the person who is at a place there; -1: `person` tells
    click_x: float = 0.5  # that place, in shares of the picture's width from its left
    click_y: float = 0.5  # and of its height from its top
    offset: float = 0.0  # seconds from first_frame to the result's first frame
    length: int = 0  # frames of the result; 0: as many as last as long as the movie's
    overlay: str = ""  # a movie (.mp4) to write with the result drawn over it; "": none
    overlay_replace: bool = False  # also if that file exists

    def __post_init__(self) -> None:
        check_id(self.job_id)
        check_range("length of path", len(self.path), 1, 4096)
        check_range("movie_fps", self.movie_fps, 0.0, 1000.0)
        check_range("click_frame", self.click_frame, -1, 10**8)
        check_range("click_x", self.click_x, 0.0, 1.0)
        check_range("click_y", self.click_y, 0.0, 1.0)
        check_range("offset", self.offset, -10.0, 10.0)
        check_range("length", self.length, 0, 10**6)
        check_range("length of overlay", len(self.overlay), 0, 4096)
        check_range("first_frame", self.first_frame, 0, 10**8)
        check_range("num_frames", self.num_frames, 1, 10**6)
        check_range("fps", self.fps, 1.0, 1000.0)
        check_range("person", self.person, -1, 1000)
        check_range("seed", self.seed, -1, MAX_SEED)
        check_range("num_steps", self.num_steps, 0, 10_000)
        check_range("guidance_scale", self.guidance_scale, 0.0, 100.0)
        check_range("count", self.count, 1, MAX_CANDIDATES)


@dataclass(frozen=True, kw_only=True)
class PeopleRequest:
    """Look quickly who is in a movie. Answered by JobQueued*, JobProgress*, then PeopleFound, or
    one of JobFailed and JobCancelled; all carry the same job_id."""

    job_id: str  # chosen by the client, unique among its jobs
    path: str  # of the movie, absolute, on the engine's computer
    first_frame: int  # of the movie, counted as in VideoRequest
    num_frames: int  # of the movie
    movie_fps: float = 0.0  # as in VideoRequest
    picture_side: int = 128  # pixels of the pictures of people, which are square

    def __post_init__(self) -> None:
        check_range("movie_fps", self.movie_fps, 0.0, 1000.0)
        check_id(self.job_id)
        check_range("length of path", len(self.path), 1, 4096)
        check_range("first_frame", self.first_frame, 0, 10**8)
        check_range("num_frames", self.num_frames, 1, 10**6)
        check_range("picture_side", self.picture_side, 16, MAX_PICTURE_SIDE)


@dataclass(frozen=True, kw_only=True)
class CancelJob:
    """Stop a job. Answered by JobCancelled, unless the job has ended meanwhile."""

    job_id: str

    def __post_init__(self) -> None:
        check_id(self.job_id)


@dataclass(frozen=True, kw_only=True)
class Ping:
    """Answered at once by Pong, also while a job runs."""


@dataclass(frozen=True, kw_only=True)
class Shutdown:
    """End the engine. Answered by EngineStopping, to every client."""


# --- messages: engine to add-on ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model of Welcome, as its checkpoint's header describes it."""

    name: str  # what a request's `model` says
    method: str
    accepts: list[str]  # "prompt", "video"
    fps: float
    licence: str
    size_bytes: int
    model_hash: str
    default: bool = False
    default_for_video: bool = False  # what a VideoRequest that names none is lifted by
    refines: bool = False  # of a video: betters what another model has lifted
    max_seconds: float = 60.0
    num_steps: int = 0  # the model's default
    guidance_scale: float = 0.0  # the model's default; 0 where it does not apply
    captions: list[str] = field(default_factory=list[str])  # a few of those it was trained on


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """The answer to a Hello with the right token."""

    engine_version: str
    device: str
    models: list[ModelEntry]
    takes_video: bool = False  # it knows VideoRequest; whether a model does, `accepts` says
    finds_people: bool = False  # it knows PeopleRequest and VideoRequest's fields from lifter on


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The answer to a message that belongs to no job and can't be served.

    code: "bad_token", "hello_first", "bad_version", "bad_message".
    """

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Pong:
    """The answer to Ping."""


@dataclass(frozen=True, kw_only=True)
class JobQueued:
    """The job waits. Sent again whenever its position changes."""

    job_id: str
    position: int  # jobs before this one; 0 starts now


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """At most ten times a second. num_steps counts those of all candidates."""

    job_id: str
    step: int  # steps done
    num_steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class JobResult:
    """One finished motion: T frames of J joints. The job ends with candidate count - 1."""

    job_id: str
    candidate: int = 0
    count: int = 1
    fps: float
    joint_names: list[str]
    parents: list[int]  # index of each joint's parent, -1 for the root
    rest_offsets: FloatArray  # (J, 3) from the parent joint, in the rest pose
    root_translation: FloatArray  # (T, 3)
    local_rotations: FloatArray  # (T, J, 4) relative to the parent joint
    contacts: FloatArray  # (T, 4) 1 where it stands: left ankle, left foot, right ankle, right foot
    provenance: str = "{}"  # JSON: prompt, seed, model, model_hash, engine_version, options
    warnings: list[str] = field(default_factory=list[str])  # in the user's words
    # Of a motion that a camera has seen: (T, 3, 4) world to camera, x right, y down, z ahead.
    camera: FloatArray = field(default_factory=_no_camera)  # (0, 3, 4): none has
    focal_length: float = 0.0  # pixels of the picture
    principal_point: list[float] = field(default_factory=list[float])  # x, y in pixels, y down
    image_size: list[int] = field(default_factory=list[int])  # width, height
    overlay: str = ""  # the movie that was written with this motion drawn over it

    def __post_init__(self) -> None:
        self._check_camera()
        num_joints, num_frames = len(self.joint_names), len(self.root_translation)
        check_shape("rest_offsets", self.rest_offsets, (num_joints, 3))
        check_shape("root_translation", self.root_translation, (num_frames, 3))
        check_shape("local_rotations", self.local_rotations, (num_frames, num_joints, 4))
        check_shape("contacts", self.contacts, (num_frames, 4))
        check_range("fps", self.fps, 1.0, 1000.0)
        check_range("number of parents", len(self.parents), num_joints, num_joints)
        for joint, parent in enumerate(self.parents):
            check_range(f"parents[{joint}]", parent, -1, joint - 1)

    @property
    def has_camera(self) -> bool:
        """A camera has seen this motion."""
        return len(self.camera) > 0

    def _check_camera(self) -> None:
        if not self.has_camera:
            check_shape("camera", self.camera, (0, 3, 4))
            return
        check_shape("camera", self.camera, (len(self.root_translation), 3, 4))
        check_range("focal_length", self.focal_length, 1e-3, 1e9)
        check_range("number of principal_point", len(self.principal_point), 2, 2)
        check_range("number of image_size", len(self.image_size), 2, 2)
        for pixels in self.image_size:
            check_range("image_size", pixels, 1, 10**6)


@dataclass(frozen=True, kw_only=True)
class FoundPerson:
    """One person of PeopleFound. Frames are the movie's, counted as in the request."""

    first_frame: int  # in which the person is seen
    last_frame: int
    share: float  # of the frames between them in which the person is seen, 0 to 1
    height: float  # in the picture, in shares of the picture's height: the median
    click_frame: int  # where the person is seen best: what VideoRequest is to be told
    click_x: float
    click_y: float

    def __post_init__(self) -> None:
        check_range("click_frame", self.click_frame, 0, 10**8)
        check_range("click_x", self.click_x, 0.0, 1.0)
        check_range("click_y", self.click_y, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleFound:
    """Who is in a movie, P people, the largest first. It ends the job."""

    job_id: str
    people: list[FoundPerson]
    pictures: ByteArray = field(default_factory=_no_pictures)  # (P, S, S, 3) RGB, top row first
    warnings: list[str] = field(default_factory=list[str])  # in the user's words

    def __post_init__(self) -> None:
        check_range("number of people", len(self.people), 0, MAX_PEOPLE)
        if self.pictures.dtype != np.uint8:
            raise ProtocolError(f"pictures are {self.pictures.dtype}, need uint8")
        side = self.pictures.shape[1] if self.pictures.ndim == 4 else 0
        check_range("side of a picture", side, 1, MAX_PICTURE_SIDE)
        check_shape("pictures", self.pictures, (len(self.people), side, side, 3))


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The end of a job that could not be done.

    code: "bad_request", "unknown_model", "bad_model", "bad_engine" (a part of it isn't installed),
    "out_of_memory", "queue_full", "internal".
    """

    job_id: str
    code: str
    message: str  # one line, in the user's words
    detail: str = ""  # traceback, for the log


@dataclass(frozen=True, kw_only=True)
class JobCancelled:
    """The end of a job that the client has cancelled."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class EngineStopping:
    """The engine's last message: it ends now, and every job with it."""

    reason: str


Message: TypeAlias = (
    Hello
    | Welcome
    | Rejected
    | PromptRequest
    | VideoRequest
    | PeopleRequest
    | CancelJob
    | JobQueued
    | JobProgress
    | JobResult
    | PeopleFound
    | JobFailed
    | JobCancelled
    | Ping
    | Pong
    | Shutdown
    | EngineStopping
)

MESSAGE_TYPES: dict[str, type[Message]] = {kind.__name__: kind for kind in typing.get_args(Message)}


def encode(message: Message) -> list[bytes]:
    """Turn a message into its frames; a ProtocolError refuses what decode would refuse."""
    return wire.encode(message)


def decode(frames: Sequence[bytes]) -> Message:
    """Turn frames into a message. Arrays share the frames' memory and are read-only.

    Raises:
        VersionError: the other side speaks another version.
        ProtocolError: anything else that encode could not have written.
    """
    return cast("Message", wire.decode(frames, MESSAGE_TYPES))
