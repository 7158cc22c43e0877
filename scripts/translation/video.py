"""Videos of scripts/translate.py: each frame translated, in order and at its time, with the sound copied (PyAV)."""
import os
from contextlib import suppress
from pathlib import Path

from util.errors import UserError

EXTENSIONS = ('.mp4', '.mov', '.mkv', '.webm', '.avi', '.m4v')
CONTAINERS = ('.mp4', '.mov', '.mkv', '.m4v')   # that take H.264 and most kinds of sound; .mkv for all others
QUALITY = '18'      # of H.264, constant rate factor: visually lossless


def is_video(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def extension_for(path: Path) -> str:
    return path.suffix if path.suffix.lower() in CONTAINERS else '.mkv'


def translate_video(source: Path, target: Path, translate):
    """Write `target` with `translate(image)` for each frame, a Pillow image. It appears when it is complete.

    Raises a `UserError` for a file that cannot be read, or without PyAV.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(f'{source.absolute()} is a video, which needs PyAV ({error}); pip install av') from error
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f'.{os.getpid()}.tmp.{target.name}')
    try:
        with av.open(str(source)) as reader:
            if not reader.streams.video:
                raise UserError(f'{source.absolute()} has no pictures')
            with av.open(str(unfinished), 'w') as writer:
                copy_streams(av, reader, writer, translate)
        os.replace(unfinished, target)
    except av.error.FFmpegError as error:
        raise UserError(f'{source.absolute()} cannot be translated as a video ({error.strerror}); repair or convert '
                        f'it') from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def copy_streams(av, reader, writer, translate):
    """Translate the first video stream and copy the first sound."""
    pictures, sounds = reader.streams.video[0], reader.streams.audio[:1]
    encoder = new_encoder(writer, pictures, first_picture(av, reader.name).size)    # before the first packet
    copied = [writer.add_stream_from_template(sound) for sound in sounds]
    for packet in reader.demux(pictures, *sounds):
        if packet.stream.type == 'audio':
            if packet.dts is not None:      # the last one is empty
                packet.stream = copied[0]
                writer.mux(packet)
            continue
        for frame in packet.decode():
            result = av.VideoFrame.from_image(translate(upright(frame)).convert('RGB'))
            result.pts, result.time_base = frame.pts, frame.time_base
            writer.mux(encoder.encode(result))
    writer.mux(encoder.encode(None))


def first_picture(av, path: str):
    with av.open(path) as reader:
        return upright(next(reader.decode(video=0)))


def upright(frame):
    """The frame as a Pillow image; phones note how it must be turned (counterclockwise, in degrees)."""
    return frame.to_image().rotate(getattr(frame, 'rotation', 0), expand=True)


def new_encoder(writer, pictures, size: tuple[int, int]):
    """A stream of H.264 of `size` (width, height), with the times of `pictures`."""
    encoder = writer.add_stream('libx264', rate=pictures.average_rate, options={'crf': QUALITY})
    encoder.width, encoder.height = size
    encoder.time_base = encoder.codec_context.time_base = pictures.time_base
    odd = size[0] % 2 or size[1] % 2
    encoder.pix_fmt = 'yuv444p' if odd else 'yuv420p'       # the usual format needs even sides
    return encoder
