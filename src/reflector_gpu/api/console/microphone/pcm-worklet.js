// Runs beside the page: gathers the microphone's samples into tenths of a second, 16 bits each.

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(sampleRate / 10);
    this.count = 0;
  }

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.block[this.count] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.count += 1;
      if (this.count < this.block.length) continue;
      this.port.postMessage(this.block.slice());
      this.count = 0;
    }
    return true;
  }
}

registerProcessor("pcm", Pcm);
