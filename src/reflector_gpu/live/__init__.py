"""The words of an utterance while it is spoken, from recognisers that hear whole chunks."""
