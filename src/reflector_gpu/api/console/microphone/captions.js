// Words while somebody speaks: OpenAI's Realtime protocol at /v1/realtime.

import { address, json } from "../api.js";

const WORDS = "conversation.item.input_audio_transcription";
const PATIENCE = 8000; // milliseconds that the last words may take
const LAST = "the-last-commit"; // the event that ends what is being said

/**
 * @typedef {object} Captions
 * @property {(samples: Int16Array) => void} send
 * @property {() => Promise<void>} finish ends the turn that is spoken, waits for its words, and closes
 * @property {() => void} close
 */

/**
 * Open a session.
 *
 * A page cannot send its key with a WebSocket, but in a subprotocol; a client secret, which lasts for
 * minutes, does for that, and brings the errors of the options as an answer that can be read.
 * @param {number} rate samples a second
 * @param {{model: string, language: string}} options
 * @param {{turn: (id: string, text: string, final: boolean) => void, failed: (message: string) => void}} listener
 * @returns {Promise<Captions>}
 */
export async function openCaptions(rate, options, listener) {
  const transcription = {
    ...(options.model && { model: options.model }),
    ...(options.language && { language: options.language }),
  };
  const input = { format: { type: "audio/pcm", rate }, transcription, turn_detection: { type: "server_vad" } };
  const session = { type: "transcription", audio: { input } };
  const { value } = await json("v1/realtime/client_secrets", { session });
  const url = address("v1/realtime?intent=transcription");
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url, ["realtime", `openai-insecure-api-key.${value}`]);
  /** @type {Map<string, string>} */
  const turns = new Map();
  /** @type {Set<string>} turns that have ended and wait for their words */
  const pending = new Set();
  let closed = false;
  let answered = false; // the last commit
  let done = () => {};
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === `${WORDS}.delta`) {
      turns.set(event.item_id, (turns.get(event.item_id) ?? "") + event.delta);
      listener.turn(event.item_id, turns.get(event.item_id) ?? "", false);
    } else if (event.type === `${WORDS}.completed`) {
      turns.delete(event.item_id);
      pending.delete(event.item_id);
      listener.turn(event.item_id, event.transcript, true);
    } else if (event.type === "input_audio_buffer.committed") {
      pending.add(event.item_id);
      answered = true;
    } else if (event.error?.event_id === LAST) {
      answered = true; // nobody was speaking
    } else if (event.error) {
      pending.delete(event.item_id);
      listener.failed(event.error.message);
    }
    if (answered && !pending.size) done();
  };
  socket.onclose = () => {
    done();
    if (!closed) listener.failed("The captions have ended. The recording goes on.");
  };
  const close = () => {
    closed = true;
    // Browsers report a socket that is closed while it opens as an error.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  };
  return {
    send(samples) {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(JSON.stringify({ type: "input_audio_buffer.append", audio: base64(samples) }));
    },
    async finish() {
      if (socket.readyState === WebSocket.OPEN) {
        answered = false;
        socket.send(JSON.stringify({ type: "input_audio_buffer.commit", event_id: LAST }));
        await new Promise((resolve) => {
          done = () => resolve(undefined);
          setTimeout(done, PATIENCE);
        });
      }
      close();
    },
    close,
  };
}

/** @param {Int16Array} samples */
function base64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer)));
}
