"""The simulated providers' batch APIs, spoken to by the providers' own clients."""

import json

import pytest

from llama_index.packs.mixture_of_agents.simulation import failure

DAY = 86_400


def line(number: int, model: str = "gpt-4.1", **changes) -> dict:
    body = {"model": model, "messages": [{"role": "user", "content": f"question {number}"}]}
    return {
        "custom_id": f"row-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body | changes,
    }


def submit(sdk, *lines: dict, **settings):
    content = "\n".join(json.dumps(one) for one in lines).encode()
    file = sdk.files.create(file=("requests.jsonl", content), purpose="batch")
    return sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        **settings,
    )


def rows(sdk, file: str | None) -> dict[str, dict]:
    lines = sdk.files.content(file).text.splitlines() if file else []
    return {one["custom_id"]: one for one in map(json.loads, lines)}


def test_openais_batch_goes_through_its_states_on_the_tests_clock(sdk, providers):
    providers.configure("gpt-4.1", echo=True, batch_seconds=100)
    batch = submit(sdk, *map(line, range(4)), metadata={"token": "mine"})
    assert (batch.status, batch.metadata) == ("validating", {"token": "mine"})
    providers.advance(50)
    batch = sdk.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed) == ("in_progress", 2)
    providers.advance(50)
    batch = sdk.batches.retrieve(batch.id)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    output = rows(sdk, batch.output_file_id)
    assert set(output) == {f"row-{number}" for number in range(4)}
    answer = output["row-3"]["response"]
    assert answer["status_code"] == 200
    assert answer["body"]["choices"][0]["message"]["content"] == "question 3"
    records = providers.log("gpt-4.1")
    assert [record.batch for record in records] == [batch.id] * 4


def test_openais_errors_are_in_a_file_of_their_own(sdk, providers):
    providers.configure("gpt-4.1", script=[failure(429)], echo=True)
    batch = sdk.batches.retrieve(submit(sdk, line(0), line(1, n=0, temperature=5), line(2)).id)
    assert batch.status == "completed"
    assert set(rows(sdk, batch.output_file_id)) == {"row-2"}
    errors = rows(sdk, batch.error_file_id)
    found = {name: one["response"]["status_code"] for name, one in errors.items()}
    assert found == {"row-0": 429, "row-1": 400}
    assert "temperature" in errors["row-1"]["response"]["body"]["error"]["message"]


@pytest.mark.parametrize("ending", ["expired", "cancelled"])
def test_what_openai_did_not_get_to_is_said_so(sdk, providers, ending):
    providers.configure("gpt-4.1", batch_seconds=2 * DAY)
    batch = submit(sdk, line(0), line(1))
    providers.advance(DAY)
    if ending == "cancelled":
        providers.reset()
        providers.configure("gpt-4.1", batch_seconds=2 * DAY)
        batch = submit(sdk, line(0), line(1))
        providers.advance(DAY - 1)
        sdk.batches.cancel(batch.id)
    batch = sdk.batches.retrieve(batch.id)
    assert batch.status == ending
    errors = rows(sdk, batch.error_file_id)
    assert {one["error"]["code"] for one in errors.values()} == {f"batch_{ending}"}
    assert len(errors) + len(rows(sdk, batch.output_file_id)) == 2


def test_openai_refuses_a_batch_whole(sdk, providers):
    providers.configure("gpt-4.1", batch_rows=1)
    batch = submit(sdk, line(0), line(1))
    assert (batch.status, batch.errors.data[0].code) == ("failed", "too_many_requests_in_batch")
    providers.configure("gpt-4.1", batch_enqueued=1, batch_seconds=10)
    assert submit(sdk, line(0)).status == "validating"
    assert submit(sdk, line(1)).errors.data[0].code == "token_limit_exceeded"
    batch = submit(sdk, line(0), line(1, model="gpt-4o"))
    assert batch.errors.data[0].code == "mismatched_model"


def test_openai_lists_batches_newest_first(sdk, providers):
    made = [submit(sdk, line(0)).id for _ in range(103)]
    assert [one.id for one in sdk.batches.list(limit=100)] == made[::-1]
    providers.forget_batch(made[0])
    with pytest.raises(Exception, match="No batch found"):
        sdk.batches.retrieve(made[0])


async def test_mistrals_jobs_have_one_model_and_their_own_states(http, providers):
    from aiohttp import FormData

    providers.configure("mistral-small-latest", echo=True, batch_seconds=10)
    lines = [
        {"custom_id": str(n), "body": {"messages": line(n)["body"]["messages"]}} for n in (0, 1)
    ]
    form = FormData({"purpose": "batch"})
    form.add_field("file", "\n".join(map(json.dumps, lines)), filename="requests.jsonl")
    async with http.post("/mistral/v1/files", data=form) as response:
        file = (await response.json())["id"]
    asked = {
        "input_files": [file],
        "endpoint": "/v1/chat/completions",
        "model": "mistral-small-latest",
        "metadata": {"token": "mine"},
        "timeout_hours": 1,
    }
    async with http.post("/mistral/v1/batch/jobs", json=asked) as response:
        job = await response.json()
    assert (job["status"], job["metadata"]) == ("QUEUED", {"token": "mine"})
    states = []
    for seconds in (5, 5):
        providers.advance(seconds)
        async with http.get(f"/mistral/v1/batch/jobs/{job['id']}") as response:
            job = await response.json()
        states.append((job["status"], job["succeeded_requests"]))
    assert states == [("RUNNING", 1), ("SUCCESS", 2)]
    async with http.get(f"/mistral/v1/files/{job['output_file']}/content") as response:
        found = [json.loads(one) for one in (await response.text()).splitlines()]
    content = [one["response"]["body"]["choices"][0]["message"]["content"] for one in found]
    assert content == ["question 0", "question 1"]
    async with http.get("/mistral/v1/batch/jobs?page=0") as response:
        assert [one["id"] for one in (await response.json())["data"]] == [job["id"]]


def test_batches_can_be_held_and_made_to_fail_like_a_model(sdk, providers):
    providers.configure("batches", script=[failure(503)])
    with pytest.raises(Exception, match="503"):
        submit(sdk, line(0))
    assert submit(sdk, line(0)).status == "validating"
    assert providers.counts("batches").arrived == 3
