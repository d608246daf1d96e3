from __future__ import annotations

import fuzz
from fuzz import run

from apis_driver.frame import FrameReader


def test_random_and_mutated_frames_are_taken_as_the_document_says():
    result = run(8_000)
    assert result.frames == 8_000
    assert result.wrong == 0
    assert 2_000 < result.accepted < result.frames
    assert result.false < result.frames / 50  # exchanged bytes, and what flips that cancel out do


def test_the_fuzz_sees_a_reader_that_believes_too_much(monkeypatch):
    def gullible(self, at, size):
        from apis_driver.frame import Frame

        raw = bytes(self._bytes[at : at + size])
        frame = Frame(raw[0], raw[2], raw[3], raw[4], raw[5:-2])
        return frame if self._judge(frame) is None else None

    monkeypatch.setattr(FrameReader, "_frame_at", gullible)
    assert fuzz.run(2_000).wrong > 0
