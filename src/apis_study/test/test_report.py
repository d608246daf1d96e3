"""The page: whole, with every case and every house on it, and nothing from elsewhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from apis_study import Study
from apis_study.report import report


def test_the_page_is_whole(make_grid):
    results = Study(make_grid(4, days=31)).run()
    page = report(results)
    ElementTree.fromstring(re.sub(r"^<!DOCTYPE html>|<meta[^>]*>", "", page))  # well formed
    for word in ("none", "original", "configured", "pool", "foresight", "E003", "day 31"):
        assert word in page
    assert page.count("<svg") == 3
    assert not re.search(r"(src|href)=|url\(", page)  # it needs nothing beside itself


def test_a_page_of_one_case_has_no_comparison(make_grid):
    page = report(Study(make_grid(1, days=1, cases=["none"], bounds=[])).run())
    assert page.count("<svg") == 1
