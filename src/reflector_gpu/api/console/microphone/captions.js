// Words while somebody speaks: OpenAI's Realtime protocol at /v1/realtime.

import { address, json } from "../api.js";

const WORDS = "conversation.item.input_audio_transcription";

/**
 * @typedef {object} Captions
 * @property {(samples: Int16Array) => void} send
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
  let closed = false;
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === `${WORDS}.delta`) {
      turns.set(event.item_id, (turns.get(event.item_id) ?? "") + event.delta);
      listener.turn(event.item_id, turns.get(event.item_id) ?? "", false);
    } else if (event.type === `${WORDS}.completed`) {
      turns.delete(event.item_id);
      listener.turn(event.item_id, event.transcript, true);
    } else if (event.error) listener.failed(event.error.message);
  };
  socket.onclose = () => closed || listener.failed("The captions have ended. The recording goes on.");
  return {
    send(samples) {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(JSON.stringify({ type: "input_audio_buffer.append", audio: base64(samples) }));
    },
    close() {
      closed = true;
      socket.close();
    },
  };
}

/** @param {Int16Array} samples */
function base64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer)));
}
