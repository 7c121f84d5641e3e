"""Write the bundled YouTube archive (samples/youtube) from the texts in samples/texts/youtube.

Belongs here: ids, times, the formats of yt-dlp's files, synthetic prices, and the labels as a table. Does not belong
here: what is said, and how each video is labelled (samples/texts/youtube), the symbols and early closes (written by
hand in samples/youtube).

Run without arguments; the same texts give the same bytes. Nothing is random: `draw` derives a number from a name, so
an edited text moves no other video and no price. Prices are a random walk from the levels in prices.yaml and have
nothing to do with real ones but their order of magnitude.

Keys of a video in samples/texts/youtube: title, at (UTC), text, where a line `## ...` begins a chapter; and, where the
default will not do,

    channel         teapot, ladder or other; default: as the file is called
    auto, manual    track -> format of the automatic captions, of those written by people
    translated      track -> format of machine translations, whose words are in other_text
    misheard        word -> what automatic captions mostly make of it
    cased           automatic captions keep the capitals of names
    picks           labels, `TICKER action conviction`, conviction 1 to 3; [] says there are none; missing: not labelled
    dated           day: only upload_date is known; unknown: neither that nor a timestamp
    fetched         UTC; default: when the whole archive was
    live            was_live, is_live, is_upcoming
    chat            a file with the chat of a live stream
    short           url: its address and media_type tell; duration: only its length does
    seconds         length, where it does not follow from the text
    availability, age_limit
    quirks          empty_cues, latin1 (a byte that is no UTF-8), cut_captions, cut_info (half a file), no_info
"""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from spoken import (
    Video,
    as_heard,
    auto_json3,
    auto_lines,
    auto_srv3,
    draw,
    manual_cues,
    manual_srt,
    manual_vtt,
    rolling_vtt,
    spoken,
)

HERE = Path(__file__).resolve().parent
TEXTS = HERE / "texts" / "youtube"
FETCHED = "2026-03-28 06:00"
# Made up, 22 characters behind UC; nobody watches the third.
CHANNELS = {
    "teapot": ("UCsampleTeapotTape000001", "Teapot Tape", "@teapottape_sample", 48_200),
    "ladder": ("UCsampleSlowLadder000002", "Slow Ladder", "@slowladder_sample", 131_000),
    "other": ("UCsampleUnwatched0000003", "Bell and Spoke", "@bellandspoke_sample", 2_340),
}
FILES = {"teapot_tape": "teapot", "slow_ladder": "ladder", "odd": None}
LANGUAGES = {"en": "English", "nl": "Dutch", "es": "Spanish"}
# What yt-dlp lists for each track, in its order.
FORMATS = ("json3", "srv1", "srv2", "srv3", "ttml", "srt", "vtt")
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# yt-dlp writes full-width letters for what no file name may hold.
NO_FILE_NAME = str.maketrans({letter: chr(ord(letter) + 0xFEE0) for letter in '"*:<>?|'} | {"/": "⧸", "\\": "⧹"})
AUTOMATIC = {"json3": auto_json3, "srv3": auto_srv3, "vtt": rolling_vtt}
EMPTY_EVERY = 9
FIRST_SESSION, LAST_SESSION = date(2026, 2, 23), date(2026, 4, 17)
GOOD_FRIDAY = date(2026, 4, 3)
PRICE_COLUMNS = ("symbol", "date", "open", "high", "low", "close", "adj_close", "volume", "currency")
MARKET = "SPY"


def videos(texts: Path = TEXTS) -> Iterator[Video]:
    """All videos of the sample, each with its channel and id."""
    for name, channel in FILES.items():
        for entry in yaml.safe_load((texts / f"{name}.yaml").read_text("utf-8")):
            video = {"channel": channel, "text": "", **entry}
            key = f"{video['channel']}/{video['title']}"
            letters = [BASE64[int(64 * draw(key, "id", place))] for place in range(10)]
            # 11 characters hold 66 bits for a number of 64, so the last one has only 16 values.
            yield {**video, "key": key, "id": "".join(letters) + BASE64[4 * int(16 * draw(key, "id"))]}


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def caption_files(video: Video) -> tuple[dict[str, bytes], int, list[tuple[int, str]]]:
    """Return ending -> content, the milliseconds until the last word, and where chapters begin."""
    words, chapters = spoken(video, video["text"])
    quirks = video.get("quirks", ())
    texts: dict[str, str] = {}
    for track, form in video.get("auto", {}).items():
        texts[f"{track}.{form}"] = AUTOMATIC[form](auto_lines(video, as_heard(video, words)))
    for track, form in video.get("manual", {}).items():
        empty_every = EMPTY_EVERY if "empty_cues" in quirks else None
        cues = manual_cues(words)
        vtt = manual_vtt(cues, track, empty_every=empty_every)
        texts[f"{track}.{form}"] = vtt if form == "vtt" else manual_srt(cues)
    for track, form in video.get("translated", {}).items():
        cues = manual_cues(spoken(video, video["other_text"][track])[0])
        texts[f"{track}.{form}"] = manual_vtt(cues, track.partition("-")[0])
    files = {ending: text.encode("latin-1" if "latin1" in quirks else "utf-8") for ending, text in texts.items()}
    if "cut_captions" in quirks:
        files = {ending: content[: len(content) // 2] for ending, content in files.items()}
    return files, words[-1].end if words else 0, chapters


def info(video: Video, last_word: int, chapters: list[tuple[int, str]]) -> dict[str, Any]:
    """The info.json of a video in yt-dlp's keys, without what only players need."""
    key, video_id = video["key"], video["id"]
    at, fetched = moment(video["at"]), moment(video.get("fetched", FETCHED))
    live, dated = video.get("live", "not_live"), video.get("dated", "second")
    over = live in ("not_live", "was_live")
    duration = video.get("seconds", last_word // 1000 + 4) if over else None
    short = video.get("short") == "url"
    views = int((400 + 30_000 * draw(key, "views") ** 2) if over else 0)
    known = dated == "second" and live != "is_upcoming"
    return {
        "id": video_id,
        "title": video["title"],
        "description": description(video, chapters),
        **channel_keys(video["channel"]),
        "duration": duration,
        "view_count": views or None,
        "like_count": int(views * (0.03 + 0.04 * draw(key, "likes"))) or None,
        "comment_count": int(views * 0.004) or None,
        "age_limit": video.get("age_limit", 0),
        "webpage_url": f"https://www.youtube.com/{'shorts/' if short else 'watch?v='}{video_id}",
        "categories": ["Howto & Style" if video["channel"] == "other" else "Education"],
        "tags": [],
        "live_status": live,
        "media_type": "short" if short else "video" if live == "not_live" else "livestream",
        "release_timestamp": None if live == "not_live" else int(at.timestamp()),
        "timestamp": int(at.timestamp()) + int(50 * draw(key, "second")) if known else None,
        "upload_date": at.strftime("%Y%m%d") if known or dated == "day" else None,
        "availability": video.get("availability", "needs_auth" if video.get("age_limit") else "public"),
        "chapters": chapter_list(chapters, duration),
        "language": "en" if video["text"] else None,
        "subtitles": manual_tracks(video),
        "automatic_captions": automatic_tracks(video),
        "extractor": "youtube",
        "extractor_key": "Youtube",
        "epoch": int(fetched.timestamp()) + int(900 * draw(key, "fetched")),
        "_type": "video",
        "_version": {"version": "2026.03.01", "repository": "yt-dlp/yt-dlp"},
    }


def channel_keys(channel: str) -> dict[str, Any]:
    channel_id, name, handle, followers = CHANNELS[channel]
    return {
        "channel": name,
        "channel_id": channel_id,
        "channel_url": f"https://www.youtube.com/channel/{channel_id}",
        "channel_follower_count": followers,
        "uploader": name,
        "uploader_id": handle,
    }


def description(video: Video, chapters: list[tuple[int, str]]) -> str:
    if not video["text"]:
        return ""
    times = [f"{start // 60_000:02}:{start // 1000 % 60:02} {title}" for start, title in chapters]
    return "\n".join([f"{video['title']}. Opinions, not advice.", *times, "An invented video of a bundled sample."])


def chapter_list(chapters: list[tuple[int, str]], duration: int | None) -> list[dict[str, Any]] | None:
    ends = [start / 1000 for start, _ in chapters[1:]] + [duration]
    return [
        {"start_time": start / 1000, "title": title, "end_time": end}
        for (start, title), end in zip(chapters, ends, strict=False)
    ] or None


def manual_tracks(video: Video) -> dict[str, Any]:
    chat = {"live_chat": [{"ext": "json", "video_id": video["id"]}]} if video.get("chat") else {}
    return {track: track_formats(video, track, LANGUAGES[track]) for track in video.get("manual", {})} | chat


def automatic_tracks(video: Video) -> dict[str, Any]:
    """A few of the hundred languages that YouTube offers: the original, and translations."""
    names: dict[str, str] = {}
    for track in video.get("translated", {}):
        language, _, original = track.partition("-")
        names[track] = f"{LANGUAGES[language]} from {LANGUAGES[original]}"
    if video.get("auto"):
        names |= {"en-orig": "English (Original)", "en": "English", "de": "German", "nl": "Dutch"}
    elif video.get("manual"):
        names |= {"de-en": "German from English", "nl-en": "Dutch from English"}
    return {track: track_formats(video, track, name) for track, name in names.items()}


def track_formats(video: Video, track: str, name: str) -> list[dict[str, str]]:
    address = f"https://www.youtube.com/api/timedtext?v={video['id']}&lang={track}&fmt="
    return [{"ext": form, "url": address + form, "name": name} for form in FORMATS]


def chat_lines(video: Video) -> bytes:
    """The chat of a stream as yt-dlp writes it, which is no caption."""
    lines = []
    for number, text in enumerate(("yes we hear you", "sofi?", "is celsius dead", "CARVANA", "what about AT&T")):
        item = {"message": {"runs": [{"text": text}]}, "authorName": {"simpleText": f"@viewer_sample_{number:02}"}}
        action = {"addChatItemAction": {"item": {"liveChatTextMessageRenderer": item}}}
        offset = str(int(4_000 + 22_000 * number + 9_000 * draw(video["key"], "chat", number)))
        lines.append(json.dumps({"replayChatItemAction": {"actions": [action], "videoOffsetTimeMsec": offset}}))
    return "\n".join([*lines, ""]).encode()


def video_files(video: Video) -> Iterator[tuple[str, bytes]]:
    captions, last_word, chapters = caption_files(video)
    stem = f"{CHANNELS[video['channel']][1]}/{video['title'].translate(NO_FILE_NAME)} [{video['id']}]"
    content = json.dumps(info(video, last_word, chapters)).encode()
    quirks = video.get("quirks", ())
    if "no_info" not in quirks:
        yield f"{stem}.info.json", content[: len(content) // 2] if "cut_info" in quirks else content
    for ending, caption in captions.items():
        yield f"{stem}.{ending}", caption
    if video.get("chat"):
        yield f"{stem}.live_chat.json", chat_lines(video)


def playlist_file(channel: str) -> tuple[str, bytes]:
    """What yt-dlp leaves beside the videos of a channel that is downloaded as a whole; it describes no video."""
    channel_id, name, *_ = CHANNELS[channel]
    title = f"{name} - Videos"
    content = {
        "id": channel_id,
        "title": title,
        **channel_keys(channel),
        "_type": "playlist",
        "extractor": "youtube:tab",
    }
    return f"{name}/{title} [{channel_id}].info.json", json.dumps(content).encode()


def labels(found: list[Video]) -> bytes:
    """The picks written into the texts, one per row; a row without ticker says that there are none."""
    rows = [(video["id"], *pick.split()) for video in found if "picks" in video for pick in (video["picks"] or ["  "])]
    return as_csv(("video_id", "ticker", "action", "conviction"), [(*row, "", "", "")[:4] for row in rows])


def as_csv(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue().encode()


def sessions() -> list[date]:
    days = [FIRST_SESSION + timedelta(days=number) for number in range((LAST_SESSION - FIRST_SESSION).days + 1)]
    return [day for day in days if day.weekday() < 5 and day != GOOD_FRIDAY]


def prices(levels: dict[str, Any]) -> bytes:
    """A random walk per symbol: its part of the market's day and a day of its own. Synthetic, whatever the symbol."""
    rows = [row for symbol, level in levels["levels"].items() for row in walk(symbol, level, levels["dividends"])]
    return as_csv(PRICE_COLUMNS, rows)


def walk(symbol: str, level: float, dividends: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    days, closes = sessions(), [float(level)]
    swing = 0.045 if level < 50 or symbol.endswith("-USD") else 0.02
    for day in days:
        market = 0.009 * bell(MARKET, day)
        closes.append(closes[-1] * (1 + market + (0 if symbol == MARKET else swing * bell(symbol, day))))
    ex_day, paid = dividends.get(symbol, (days[0], 0.0))
    for number, day in enumerate(days):
        before, close = closes[number], closes[number + 1]
        opened = before + (close - before) * draw(symbol, day, "open")
        high = max(opened, close) * (1 + 0.008 * draw(symbol, day, "high"))
        low = min(opened, close) * (1 - 0.008 * draw(symbol, day, "low"))
        # Before the day without dividend the adjusted close is lower by its share of the close before that day.
        adjusted = close * (1 - paid / closes[days.index(ex_day)]) if day < ex_day else close
        shown = [f"{price:.2f}" for price in (opened, high, low, close, adjusted)]
        yield (symbol, day, *shown, 100 * int(8_000 + 90_000 * draw(symbol, day, "volume")), "USD")


def bell(*names: object) -> float:
    """A number that is distributed nearly normally around 0 with deviation 1: the sum of twelve even ones, less 6."""
    return sum(draw(*names, part) for part in range(12)) - 6


def files(texts: Path = TEXTS) -> dict[str, bytes]:
    """Return path -> content of every file of the archive that is not written by hand."""
    found = list(videos(texts))
    made = dict(file for video in found for file in video_files(video))
    path, content = playlist_file("teapot")
    levels = yaml.safe_load((texts / "prices.yaml").read_text("utf-8"))
    return {**made, path: content, "labels.csv": labels(found), "prices.csv": prices(levels)}


def main() -> None:
    folder = HERE / "youtube"
    made = files()
    for path in folder.glob("*/*"):
        if str(path.relative_to(folder)) not in made:
            path.unlink()
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
