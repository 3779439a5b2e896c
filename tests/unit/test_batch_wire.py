"""What a provider's refusal of a batch means."""

import pytest

from llama_index.packs.mixture_of_agents._providers.batch_wire import Refused

ENQUEUED = (
    '[{"code": "token_limit_exceeded", "message": "Enqueued token limit reached for gpt-4o-mini. Limit: '
    '2,000,000 enqueued tokens. Please try again once some in_progress batches have been completed."}]'
)


@pytest.mark.parametrize(
    ("status", "text", "passes", "is_too_large"),
    [
        (400, ENQUEUED, True, False),
        (429, "Rate limit reached for requests", True, False),
        (503, "overloaded", True, False),
        (408, "", True, False),
        (429, '{"error": {"code": "insufficient_quota"}}', False, False),
        (400, "Your account has a billing problem; please try again", False, False),
        (401, "Incorrect API key provided", False, False),
        (501, "Not implemented", False, False),
        (413, "", False, True),
        (400, "The file has 60000 requests, and the maximum is 50000", False, True),
        (422, "List should have at most 10000 items", False, True),
        (400, "The file is too large", False, True),
        (400, "line 3: unknown field", False, False),
    ],
)
def test_a_refusal_is_waited_out_or_split_or_told(status, text, passes, is_too_large):
    refused = Refused(status, text)
    assert (refused.passes, refused.is_too_large) == (passes, is_too_large)


def test_a_refusal_keeps_no_more_of_a_body_than_it_shows():
    assert len(Refused(400, "x" * 1_000_000).text) <= 2_000
