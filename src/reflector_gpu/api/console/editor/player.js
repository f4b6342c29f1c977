// The recording: playing it, and where it is.

import { byId, clock } from "../dom.js";
import { drawWaveform } from "./waveform.js";

export class Player {
  #clear = () => {};
  /** @type {Set<(seconds: number) => void>} */
  #listeners = new Set();

  /**
   * @param {File | string | null} source
   * @param {number} duration as the server told it
   */
  constructor(source, duration) {
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.duration = duration;
    const [play, position, speed] = ["play", "position", "speed"].map(byId);
    play.onclick = () => this.toggle();
    position.oninput = () => this.seek(Number(position.value));
    speed.onchange = () => (this.audio.playbackRate = Number(speed.value));
    for (const name of ["play", "pause"]) this.audio.addEventListener(name, () => this.#showState());
    for (const name of ["seeked", "timeupdate", "ended"]) this.audio.addEventListener(name, () => this.#told());
    this.audio.addEventListener("loadedmetadata", () => {
      if (Number.isFinite(this.audio.duration)) this.duration = this.audio.duration;
      else this.#measure();
      this.#told();
    });
    this.audio.addEventListener("canplay", () => byId("player").classList.remove("waiting"));
    this.audio.addEventListener("error", () => this.#show(false));
    this.load(source);
  }

  /** @param {File | string | null} source */
  load(source) {
    if (this.audio.src.startsWith("blob:")) URL.revokeObjectURL(this.audio.src);
    this.#clear();
    if (source) this.audio.src = typeof source === "string" ? source : URL.createObjectURL(source);
    this.#clear = source instanceof File ? drawWaveform(source, this) : () => {};
    this.#show(Boolean(source));
  }

  /** @param {(seconds: number) => void} listener hears where it is, often while it plays */
  onTime(listener) {
    this.#listeners.add(listener);
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.audio.currentTime = seconds;
    this.#told();
  }

  play() {
    this.audio.play().catch(() => {}); // nothing that can be played: the page says so already
  }

  toggle() {
    if (this.audio.paused) this.play();
    else this.audio.pause();
  }

  /** Have the browser find the end of what it has recorded itself: until then it cannot seek. */
  #measure() {
    const begin = () => (this.audio.currentTime = 0);
    this.audio.addEventListener("durationchange", begin, { once: true });
    this.audio.currentTime = 1e7;
  }

  /**
   * Show the controls, once the browser can play the recording, or that there is no sound.
   * Their room is kept meanwhile, so that nothing below them moves.
   * @param {boolean} sound
   */
  #show(sound) {
    byId("player").hidden = !sound;
    byId("player").classList.add("waiting");
    byId("no-audio").hidden = sound;
    if (!sound) this.#clear();
  }

  #showState() {
    const playing = !this.audio.paused;
    byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    byId("play").classList.toggle("playing", playing);
    const follow = () => {
      this.#told();
      if (!this.audio.paused) requestAnimationFrame(follow);
    };
    if (playing) follow();
  }

  #told() {
    const { currentTime } = this.audio;
    const position = byId("position");
    position.max = this.duration;
    position.value = currentTime;
    position.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(this.duration)}`);
    byId("time").textContent = `${clock(currentTime)} / ${clock(this.duration)}`;
    for (const listener of this.#listeners) listener(currentTime);
  }
}
