"""One realtime session: a client's events in, the server's events out."""

from __future__ import annotations

import asyncio
import binascii
import time
from collections import OrderedDict, deque

import numpy as np

from reflector_gpu.audio.vad import WINDOW
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.realtime import client_events as asked
from reflector_gpu.realtime import server_events as events
from reflector_gpu.realtime.configuration import Configuration, SemanticVad, TurnDetection
from reflector_gpu.realtime.dialects import Beta, Dialect, Today
from reflector_gpu.realtime.endpoint import Endpoint
from reflector_gpu.realtime.listening import Listener, Rules
from reflector_gpu.realtime.recognition import Speech
from reflector_gpu.realtime.segments import Send
from reflector_gpu.realtime.turn import Turn
from reflector_gpu.realtime.voices import Voices
from reflector_gpu.types import SAMPLE_RATE, Samples

_TODAY, _BETA = Today(), Beta()

_LONGEST_TURN = 300 * SAMPLE_RATE
"""A longer turn ends by itself, so that no session holds ever more audio."""

_MOST_TURNS = 32  # ended turns that may wait for their words; then the client has to wait
_MOST_WAITING = 120.0  # seconds of audio in them
_MOST_ITEMS = 256  # that can be retrieved
_SLICE_SECONDS = 1  # of audio that is worked on before others get their turn


class Session:
    """Takes events one after the other. Turns are recognised meanwhile.

    The caller closes it: `finish` waits for the words of what was said, `aclose` does not.
    """

    def __init__(
        self,
        speech: Speech,
        configuration: Configuration,
        send: Send,
        *,
        lifetime: float,
        dialect: Dialect = _TODAY,
    ) -> None:
        """It should end after ``lifetime`` seconds. Events go to ``send``."""
        self.id = events.new_id("sess")
        self.turns = 0
        """How many turns have ended."""
        self.seconds = 0.0
        """The audio in them."""
        self._speech = speech
        self.configuration = configuration
        self._dialect = dialect
        self._send = send
        self.expires_at = int(time.time() + lifetime)
        self._decoder = configuration.input.format.decoder()
        self._listener = Listener()
        self._rules = Rules()
        self._endpoint: Endpoint | None = None
        """What hears where turns end, if clients want more than silence."""
        self._go_by(configuration.input.turn_detection)
        self._position = 0
        """The samples that were listened to."""
        self._begin = 0
        """The sample after the last turn."""
        self._lead: deque[tuple[Samples, Samples]] = deque()
        """The audio before a turn that belongs to it if somebody speaks now, window by window, and
        what the detector found in it."""
        self._turn: Turn | None = None
        self._ended: list[Turn] = []
        """Turns that wait for their words."""
        self._last: str | None = None
        self._items: OrderedDict[str, Turn] = OrderedDict()
        self._voices = Voices(speech.speakers)
        self._cut = False
        """Whether the server had to end the last turn, although the client ends turns."""

    async def start(self) -> None:
        """Greet the client."""
        await self._send(self._dialect.created(self))

    async def take(self, text: str | bytes) -> None:
        """Do what the client's event asks. If something is wrong with it, tell the client."""
        event_id: str | None = None
        try:
            event, event_id = asked.parsed(text)
            await self._do(event)
        except asked.MalformedEvent as error:
            await self._refuse(error, error.event_id)
        except ReflectorError as error:
            await self._refuse(error, event_id)

    async def hear(self, samples: Samples) -> None:
        """Take audio that does not come in events."""
        await self._room()
        await self._voices.room()
        await self._hear(samples)

    async def finish(self) -> None:
        """End the turn that is spoken, and wait for the words of all turns."""
        if self._turn:
            await self._commit(self._turn)
        for turn in self._ended:
            await turn.result()
        if self._voices.used:
            await self._tell_speakers()

    async def aclose(self) -> None:
        """Drop all work at once."""
        turns = [*self._ended, *([self._turn] if self._turn else [])]
        self._ended, self._turn = [], None
        if self._endpoint:
            self._endpoint.begin_anew()
        await asyncio.gather(*(turn.aclose() for turn in turns))
        await self._voices.aclose()

    async def refuse(self, error: ReflectorError) -> None:
        """Tell the client of ``error``, which no event of its own has caused."""
        await self._refuse(error, None)

    # Events

    async def _do(self, event: asked.ClientEvent) -> None:
        match event:
            case asked.AppendAudio():
                await self._append(event.audio)
            case asked.CommitAudio():
                await self._commit_buffer()
            case asked.ClearAudio():
                await self._clear()
            case asked.UpdateSession():
                await self._update(self.configuration.updated(event.session))
                beta = event.type == "transcription_session.update"
                await self._send((_BETA if beta else self._dialect).updated(self))
            case asked.RetrieveItem():
                found = self._item(event.item_id)
                item = events.Item.of(found.item_id, found.transcript)
                await self._send(events.ItemRetrieved(item=item))
            case asked.DeleteItem():
                del self._items[self._item(event.item_id).item_id]
                await self._send(events.ItemDeleted(item_id=event.item_id))
            case asked.RetrieveSpeakers():
                if not self._voices.used:
                    raise InvalidRequest(
                        "Nothing is known of speakers: set 'diarize' of 'audio.input.transcription'"
                        " to true before they speak.",
                        param="type",
                    )
                await self._tell_speakers()
            case asked.StopOutput():
                pass
            case asked.Unsupported():
                raise InvalidRequest(
                    f"This server transcribes and does not answer: it knows no '{event.type}'.",
                    param="type",
                )

    async def _refuse(self, error: ReflectorError, event_id: str | None) -> None:
        await self._send(events.ErrorEvent(error=events.Problem.of(error, event_id)))

    async def _tell_speakers(self) -> None:
        """Say who said what, by all that has been heard so far."""
        await self._send(events.SpeakersRetrieved.of(await self._voices.corrected()))

    async def _update(self, wanted: Configuration) -> None:
        """Work as ``wanted`` from now on."""
        old, new = self.configuration.input, wanted.input
        if new.transcription != old.transcription and new.transcription:
            self._speech.check(new.transcription)
            await self._speech.check_options(new.transcription)
        self.configuration = wanted
        if new.format != old.format:
            self._decoder = new.format.decoder()
        if new.turn_detection != old.turn_detection:
            self._go_by(new.turn_detection)

    def _go_by(self, detection: TurnDetection | None) -> None:
        """Find turns by ``detection`` from now on."""
        self._rules = Rules.of(detection)
        self._listener.rules(self._rules)
        if self._endpoint:
            self._endpoint.begin_anew()
        self._endpoint = None
        if isinstance(detection, SemanticVad):
            self._endpoint = Endpoint(self._speech.finished)
            self._speech.expect_pauses()

    def _item(self, item_id: str) -> Turn:
        found = self._items.get(item_id)
        if found is None:
            raise InvalidRequest("This session has no such item.", param="item_id")
        return found

    # Audio

    async def _append(self, audio: str) -> None:
        try:
            data = binascii.a2b_base64(audio, strict_mode=True)
        except ValueError as error:
            raise InvalidRequest(f"audio: not base64 ({error}).", param="audio") from None
        step = _SLICE_SECONDS * self._decoder.bytes_per_second
        for begin in range(0, len(data), step):
            await self.hear(self._decoder(data[begin : begin + step]))
            await asyncio.sleep(0)

    async def _room(self) -> None:
        """Wait while too many turns wait for their words."""
        while True:
            self._ended = [turn for turn in self._ended if not turn.done]
            seconds = sum(turn.seconds for turn in self._ended[1:])
            if len(self._ended) < _MOST_TURNS and seconds < _MOST_WAITING:
                return
            await self._ended[0].result()

    async def _hear(self, samples: Samples) -> None:
        for window in self._listener.windows(samples):
            self._position += len(window)
            if self._turn is None:
                self._lead.append((window, self._listener.probabilities))
                if self._listener.onset:
                    await self._begin_turn()
                else:
                    self._forget_lead()
                continue
            turn = self._turn
            turn.push(window, self._listener.probabilities)
            if self._endpoint:
                self._endpoint.hear(window, self._listener.silent)
            if self._listener.silent_for_long or (
                self._listener.paused and await self._is_complete(turn)
            ):
                await self._stop(turn)
            elif turn.heard >= _LONGEST_TURN:
                self._cut = not self._detects
                await self._stop(turn)

    async def _is_complete(self, turn: Turn) -> bool:
        """Whether ``turn`` was complete before this pause, by its voice or else by its words.

        A voice can fall in the middle of a sentence. Nobody has finished who has said "and the".
        """
        silence = self._listener.silent * WINDOW
        reached = await self._endpoint.reached() if self._endpoint else None
        if reached is None:
            return turn.is_whole(silence)
        return reached and not turn.is_unfinished(silence)

    def _forget_lead(self) -> None:
        """Drop audio that is too old to belong to speech that begins now."""
        while len(self._lead) > self._rules.lead:
            self._lead.popleft()

    @property
    def _detects(self) -> bool:
        return self.configuration.input.turn_detection is not None

    async def _begin_turn(self) -> None:
        self._turn = turn = self._new_turn()
        if self._detects:
            start = 1000 * turn.begin // SAMPLE_RATE
            await self._send(events.SpeechStarted(audio_start_ms=start, item_id=turn.item_id))

    def _new_turn(self) -> Turn:
        """A turn with the audio that leads to it.

        If the client ends turns, it has everything since the last one, most of which may be silence
        that is not kept.
        """
        kept = sum(len(window) for window, _ in self._lead)
        begin = self._position - kept if self._detects else self._begin
        turn = Turn(
            begin,
            self._speech,
            self.configuration.input.transcription,
            self._send,
            after=self._ended[-1] if self._ended else None,
            likely=self.configuration.logprobs,
            voices=self._voices,
        )
        turn.skip(self._position - kept - begin)
        if self._lead:
            windows, probabilities = map(np.concatenate, zip(*self._lead, strict=True))
            turn.push(windows, probabilities)
            if self._endpoint:
                self._endpoint.hear(windows, self._listener.silent)
            self._lead.clear()
        return turn

    async def _stop(self, turn: Turn) -> None:
        """End the turn, because the speech has ended."""
        if self._detects:
            end = 1000 * turn.end // SAMPLE_RATE
            await self._send(events.SpeechStopped(audio_end_ms=end, item_id=turn.item_id))
        await self._commit(turn)

    async def _commit_buffer(self) -> None:
        """End the turn, because the client says so."""
        await self._room()
        rest = self._listener.rest()
        if not len(rest) and self._position == self._begin:
            if self._cut:  # the client cannot know that there is nothing left
                return
            raise InvalidRequest("The audio buffer is empty: append audio before you commit it.")
        self._cut = False
        turn = self._turn or self._new_turn()
        if turn.heard:
            turn.push(rest)
        else:
            turn.skip(len(rest))
        self._position += len(rest)
        await self._commit(turn)

    async def _commit(self, turn: Turn) -> None:
        previous, self._last = self._last, turn.item_id
        self._turn = None
        self._ended.append(turn)
        self._items[turn.item_id] = turn
        if len(self._items) > _MOST_ITEMS:
            self._items.popitem(last=False)
        self._begin_anew()
        self.turns += 1
        self.seconds += turn.seconds
        item = events.Item.of(turn.item_id)
        for event in (
            events.Committed(item_id=turn.item_id, previous_item_id=previous),
            *self._dialect.item(previous, item),
        ):
            await self._send(event)
        turn.finish()

    async def _clear(self) -> None:
        self._position += len(self._listener.rest())
        turn, self._turn = self._turn, None
        self._begin_anew()
        if turn:
            await turn.aclose()
        await self._send(events.Cleared())

    def _begin_anew(self) -> None:
        """Count the audio from here on to another turn."""
        self._lead.clear()
        self._listener.begin_anew()
        if self._endpoint:
            self._endpoint.begin_anew()
        self._begin = self._position
