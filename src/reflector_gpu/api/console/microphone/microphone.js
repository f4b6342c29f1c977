// The microphone: what it hears, as a recording and sample by sample.

const RATES = [24_000, 48_000]; // samples a second that the server takes

/**
 * @typedef {object} Microphone
 * @property {number} rate samples a second; 0 if none can be told one by one
 * @property {() => Promise<File>} stop ends the recording
 * @property {() => void} discard
 */

/**
 * Record what the microphone hears.
 * @param {(samples: Int16Array) => void} hear gets tenths of a second
 * @returns {Promise<Microphone>}
 */
export async function openMicrophone(hear) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give the microphone to pages at localhost or behind https alone.");
  }
  const stream = await permitted();
  const recorder = new MediaRecorder(stream);
  /** @type {Blob[]} */
  const pieces = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data);
  const ended = new Promise((resolve) => (recorder.onstop = resolve)); // or its device is gone
  const close = () => {
    if (recorder.state !== "inactive") recorder.stop();
    stream.getTracks().forEach((track) => track.stop());
    context?.close();
  };
  /** @type {AudioContext | undefined} */
  let context;
  recorder.start(1000);
  try {
    context = await listening(stream, hear);
  } catch (error) {
    close();
    throw error;
  }
  return {
    rate: context?.sampleRate ?? 0,
    discard: close,
    async stop() {
      close();
      await ended;
      const ending = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
      const day = new Date().toLocaleString("sv").slice(0, 16).replace(":", "."); // Sweden writes ISO
      return new File(pieces, `Recording ${day}.${ending}`, { type: recorder.mimeType });
    },
  };
}

async function permitted() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    if (name === "NotAllowedError") throw new Error("The browser does not let this page use the microphone.");
    if (name === "NotFoundError") throw new Error("This machine has no microphone.");
    throw new Error(`The microphone cannot be used: ${message}`);
  }
}

/**
 * Hand on the samples of a stream, if the browser gives them at a rate that the server takes.
 * @param {MediaStream} stream
 * @param {(samples: Int16Array) => void} hear
 */
async function listening(stream, hear) {
  const context = await contextOf(stream);
  if (!RATES.includes(context.sampleRate)) {
    await context.close();
    return null;
  }
  await context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url));
  const node = new AudioWorkletNode(context, "pcm");
  node.port.onmessage = ({ data }) => hear(data);
  context.createMediaStreamSource(stream).connect(node).connect(context.destination); // it is silent
  return context;
}

/**
 * Firefox wants the microphone's own rate; others convert.
 * @param {MediaStream} stream
 */
async function contextOf(stream) {
  const context = new AudioContext({ sampleRate: RATES[0] });
  try {
    context.createMediaStreamSource(stream).disconnect();
    return context;
  } catch {
    await context.close();
    return new AudioContext();
  }
}
