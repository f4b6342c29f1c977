// Where the server is and what to send it, as tests/clients/test_node.py says.
import { readFileSync } from "node:fs";

export const { SERVER_URL, SERVER_KEY, ENGLISH, ENGLISH_TEXT, SPANISH, SPANISH_TEXT } = process.env;
export const API = `${SERVER_URL}/v1`;

/** The recording as a File, as a browser's file input or recorder gives it. */
export const fileOf = (path, name = "clip.wav", type = "audio/wav") =>
  new File([readFileSync(path)], name, { type });
