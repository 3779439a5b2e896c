"""An evaluation from its questions to its report, over members whose answers the test sets."""

import asyncio
import json
import re
from collections import Counter
from typing import Any

import pytest
from programs import run_python
from serving import OF_OPENAI

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents import evaluation as room
from llama_index.packs.mixture_of_agents.errors import BatchError, EvaluationError
from llama_index.packs.mixture_of_agents.evaluation import Evaluation
from llama_index.packs.mixture_of_agents.evaluation.scoring import number_in
from llama_index.packs.mixture_of_agents.simulation import Behaviour, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = pytest.mark.slow

aevaluate: Any = room.aevaluate
evaluate: Any = room.evaluate
QUESTIONS: Any = [{"id": f"q{n}", "question": f"{n} + 1?", "answer": n + 1} for n in range(40)]
PRICES = {"one": (1, 1), "two": (1, 1), "writer": (5, 5)}


def solver(model, wrong: Any = (), **settings: Any):
    """An LLM that adds, except for some numbers, and copies the first reference where it has any."""

    def reply(messages):
        references = re.search(r"^1\. (\d+)", str(messages[0].content), re.MULTILINE)
        number = int(str(messages[-1].content).split()[0])
        if number in wrong:
            return "0"
        return references[1] if references else f"The answer is {number + 1}"

    return ScriptedLLM(reply, model=model, usage=(100, 50), **settings)


def recipe(one, two, writer, **settings: Any):
    given: Any = {"prices": PRICES, **settings}
    return moa([one, two], writer, layers=1, **given)


@pytest.fixture
def members():
    return solver("one", range(20)), solver("two", range(10, 30)), solver("writer", range(5))


def names(evaluation):
    return [arm.name for arm in evaluation.arms]


async def test_a_mixture_is_compared_with_its_members_and_with_the_best_of_them_at_equal_cost(
    members,
):
    evaluation = await aevaluate(recipe(*members), QUESTIONS, "number")
    assert names(evaluation) == [
        "one", "two", "writer", "mixture", "one, vote of 7", "one, Self-MoA of 3",
        "oracle of the members",
    ]  # fmt: skip
    assert [evaluation.arm(name).score for name in ("one", "two", "writer")] == [0.5, 0.5, 0.875]
    assert evaluation.arm("oracle of the members").score == 0.75
    assert evaluation.ceiling.beta == 0.25
    assert evaluation.arm("mixture").usd == pytest.approx(1050e-6)
    assert evaluation.arm("one, vote of 7").usd == pytest.approx(1050e-6)
    assert "was chosen as the best member on these same questions" in str(evaluation)


async def test_calls_that_arms_share_are_made_once(members):
    evaluation = await aevaluate(recipe(*members), QUESTIONS, "number")
    asked = [len(llm.asked) for llm in members]
    # one: 7 samples and one Self-MoA aggregation; two: alone; writer: alone and as the aggregator
    assert asked == [len(QUESTIONS) * 8, len(QUESTIONS), len(QUESTIONS) * 2]
    assert evaluation.usd == pytest.approx(len(QUESTIONS) * (8 * 150 + 150 + 2 * 750) * 1e-6)
    assert evaluation.arm("mixture").calls == 3
    assert evaluation.arm("one, vote of 7").calls == 7


async def test_an_evaluation_goes_on_in_its_folder_and_asks_nothing_again(members, tmp_path):
    first = await aevaluate(recipe(*members), QUESTIONS, "number", folder=tmp_path)
    before = [len(llm.asked) for llm in members]
    again = await aevaluate(recipe(*members), QUESTIONS, "number", folder=tmp_path)
    assert [len(llm.asked) for llm in members] == before
    assert again == first
    saved = (tmp_path / "evaluation.json").read_text()
    assert Evaluation.from_json(saved) == first


async def test_the_order_in_which_answers_end_changes_no_number(members):
    second = asyncio.Event()

    def at_once(messages):
        return str(int(messages[-1].content.split()[0]) * 7 % 11)

    async def late_at_first(messages):
        if messages[-1].content.startswith("0 "):
            await second.wait()
        second.set()
        return at_once(messages)

    evaluations = [
        await aevaluate(
            {"two": ScriptedLLM(reply, model="two"), "one": members[0]}, QUESTIONS,
            lambda _, answer: number_in(answer), prices=PRICES, in_flight=2,
        )
        for reply in (late_at_first, at_once)
    ]  # fmt: skip
    assert second.is_set()
    assert evaluations[0].pairs == evaluations[1].pairs
    assert evaluations[0].records == evaluations[1].records


async def test_an_evaluation_is_the_same_after_its_way_through_json(members):
    evaluation = await aevaluate(recipe(*members), QUESTIONS, "number")
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    assert json.loads(evaluation.to_json())["conclusion"] == evaluation.conclusion
    for text in ("{}", "no JSON", evaluation.to_json().replace("evaluation/1", "evaluation/9")):
        with pytest.raises(EvaluationError, match="not a saved evaluation"):
            Evaluation.from_json(text)


async def test_all_arms_together_keep_to_the_cost_and_the_rest_is_asked_later(members, tmp_path):
    most = 0.0195  # members: 40 questions each for 0.00015; the aggregator: 10 for 0.00075
    stopped = await aevaluate(
        recipe(*members, max_tokens=50),
        QUESTIONS,
        "number",
        folder=tmp_path,
        max_cost=most,
        in_flight=1,
    )
    assert stopped.usd <= most * 1.0001
    assert names(stopped) == ["one", "two", "writer", "oracle of the members"]
    assert stopped.arm("writer").questions == 10
    assert "is left" in stopped.stopped
    limited = recipe(*members, max_tokens=50)
    whole = await aevaluate(limited, QUESTIONS, "number", folder=tmp_path, max_cost=1.0)
    fresh = await aevaluate(limited, QUESTIONS, "number")
    assert not whole.stopped
    assert [arm.score for arm in whole.arms] == [arm.score for arm in fresh.arms]
    assert len(members[1].asked) == len(QUESTIONS) * 2  # once for each of the two folders


async def test_a_question_without_an_answer_is_left_out_or_wrong_for_every_arm(members):
    one, _, writer = members

    def sometimes(messages):
        return OSError("gone") if str(messages[-1].content).startswith("3 ") else "8"

    two = ScriptedLLM(sometimes, model="two")
    given = {"one": one, "two": two, "writer": writer}
    left_out = await aevaluate(given, QUESTIONS, "number", prices=PRICES)
    assert (left_out.arm("two").questions, left_out.arm("two").failures) == (39, 1)
    assert left_out.pair("one", "two").questions == 39
    assert "two has no answer to 1 questions; these are left out" in str(left_out)
    wrong = await aevaluate(given, QUESTIONS, "number", prices=PRICES, failures="wrong")
    assert (wrong.arm("two").questions, wrong.arm("two").failures) == (40, 1)
    assert wrong.pair("one", "two").questions == 40


async def test_members_alone_say_whether_a_mixture_can_pay_before_one_is_asked(members):
    evaluation = await aevaluate(recipe(*members), QUESTIONS, "number", ceiling=True)
    assert names(evaluation) == ["one", "two", "oracle of the members"]
    assert members[2].asked == ()
    assert evaluation.conclusion.startswith(
        "No vote, router or cascade over these models can exceed 75.0 % here"
    )
    same = recipe(solver("one", range(20)), solver("two", range(20)), members[2])
    none = await aevaluate(same, QUESTIONS, "number", ceiling=True)
    assert none.conclusion.endswith("a mixture that chooses among their answers cannot pay.")


async def test_a_difference_within_the_noise_names_no_winner(members):
    one, two, _ = members
    evaluation = await aevaluate(
        recipe(one, two, solver("writer", [*range(20), 30])), QUESTIONS, "number", equal=None
    )
    pair = evaluation.pair("mixture", "one")
    assert (pair.wins, pair.losses, pair.better) == (0, 1, "")
    assert evaluation.conclusion.startswith(
        "Use one alone: the mixture costs 7.0 times as much as one"
    )
    assert "within the noise" in evaluation.conclusion


async def test_no_difference_at_all_is_said_in_words(members):
    one, two, _ = members
    same = recipe(one, two, solver("writer", range(20)))
    evaluation = await aevaluate(same, QUESTIONS, "number", equal=None)
    assert evaluation.conclusion.endswith("times as much as one, and scores the same.")


async def test_an_aggregator_that_loses_right_proposals_is_found_out(members):
    one, two, _ = members
    evaluation = await aevaluate(
        recipe(one, two, solver("writer", range(30, 40))), QUESTIONS, "number"
    )
    made = evaluation.ceiling.aggregation
    assert (made.had_right, made.lost, made.had_none, made.gained) == (30, 20, 10, 0)
    assert "of the answers: 50.0 % > 25.0 % (-25.0 points)." in str(evaluation)


async def test_questions_of_one_group_widen_the_interval():
    questions = [{**one, "group": n // 10} for n, one in enumerate(QUESTIONS)]
    arms = {"one": solver("one", range(20)), "two": solver("two")}
    alone = await aevaluate(arms, questions, "number", prices=PRICES)
    grouped = await aevaluate(arms, questions, "number", prices=PRICES, cluster="group")

    def width(evaluation):
        return evaluation.arm("one").interval.high - evaluation.arm("one").interval.low

    assert width(grouped) > 1.5 * width(alone)


async def test_equal_members_are_one_arm_and_samples_are_shared():
    same, writer = solver("one", range(20)), solver("writer")
    recipe_of_samples = moa([Proposer(same, samples=3)], writer, layers=1, prices=PRICES)
    evaluation = await aevaluate(recipe_of_samples, QUESTIONS, "number")
    assert names(evaluation)[:3] == ["one", "writer", "mixture"]
    assert evaluation.arm("mixture").calls == 4
    assert len(same.asked) == len(QUESTIONS) * 9  # 8 samples, and one that Self-MoA aggregates


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"scorer": "number", "questions": [{"question": "?"}]}, "no right answer"),
        ({"questions": []}, "there are no questions"),
        ({"cluster": "group"}, "no column 'group'"),
        ({"equal": "time"}, "equal = 'time'"),
        ({"failures": "ignored"}, "failures = 'ignored'"),
        ({"prices": {}}, "the price of one, two, writer is not known"),
        ({"prices": {}, "max_cost": 1.0, "equal": "calls"}, "--max-cost: the price of one"),
        ({"arms": {}}, "there are no arms"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(members, settings, problem):
    prices = settings.pop("prices", PRICES)
    arms = settings.pop("arms", recipe(*members, prices=prices))
    with pytest.raises(EvaluationError, match=problem):
        evaluate(
            arms, settings.pop("questions", QUESTIONS), settings.pop("scorer", "number"), **settings
        )
    assert [llm.asked for llm in members] == [(), (), ()]


def test_answers_of_another_mixture_are_not_mixed_with_these(members, tmp_path):
    arms = {"one": members[0]}
    evaluate(arms, QUESTIONS, "number", folder=tmp_path, prices=PRICES)
    with pytest.raises(BatchError, match="answers are of another mixture"):
        evaluate({"one": members[1]}, QUESTIONS, "number", folder=tmp_path, prices=PRICES)


def test_few_questions_get_a_remark_and_a_report_all_the_same(members):
    evaluation = evaluate(MixtureOfAgents(recipe(*members)), QUESTIONS[:3], "number")
    assert "3 questions are few" in str(evaluation)
    assert evaluation.conclusion in evaluation._repr_html_()


def test_grades_from_a_function_are_compared_too(members):
    evaluation = evaluate(recipe(*members), QUESTIONS, lambda _, answer: len(answer) * 10)
    assert evaluation.ceiling.beta is None
    assert evaluation.ceiling.aggregation is None
    assert "%" not in str(evaluation).split("Note:")[0].replace("95 %", "")


MODULE = "llama_index.packs.mixture_of_agents.cli"


@pytest.fixture
def command(tmp_path, providers):
    rules = [(rf"^{n} \+ 1\?", str(n + 1)) for n in range(40)]
    providers.configure("gpt-4.1-mini", Behaviour(rules=rules[:30], reply="none"))
    providers.configure("gpt-4o-mini", Behaviour(rules=rules[20:], reply="none"))
    providers.configure("gpt-4.1", Behaviour(rules=rules[:35], reply="none"))
    lines = "".join(f"{json.dumps(one)}\n" for one in QUESTIONS)
    (tmp_path / "questions.jsonl").write_text(lines)
    environment = {**providers.environment, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    def run(*options, code=0):
        scored = () if "--score" in options else ("--score", "number")
        arguments = ["-m", MODULE, "eval", "questions.jsonl", *OF_OPENAI, *scored]
        done = run_python(*arguments, *options, cwd=tmp_path, env=environment)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.timeout(240)
def test_the_command_says_what_it_will_cost_then_asks_nothing_twice_then_reports(
    command, providers, tmp_path
):
    done = command()
    outlook = re.findall(r"^  (\S.*): \$", done.stderr, re.MULTILINE)
    assert outlook == ["gpt-4.1-mini", "gpt-4o-mini", "gpt-4.1", "mixture"]
    assert re.search(r"^mixture +87\.5 % ", done.stdout, re.MULTILINE)
    assert "All members are wrong on 0.0 %" in done.stdout
    assert done.stdout.rstrip().split("\n")[-1].startswith("Use ")
    bodies = Counter(json.dumps(record.body, sort_keys=True) for record in providers.log())
    samples = max(bodies.values())
    again = command()
    assert again.stdout == done.stdout
    assert len(providers.log()) == sum(bodies.values())
    best = [body for body, count in bodies.items() if count == samples]
    assert all("gpt-4.1-mini" in body for body in best)  # only samples of the best member repeat
    assert sum(count > 1 for count in bodies.values()) <= len(QUESTIONS)


@pytest.mark.timeout(240)
def test_the_command_prints_json_and_the_ceiling(command, providers):
    data = json.loads(command("--json", "--ceiling").stdout)
    assert [arm["name"] for arm in data["evaluation"]["arms"]][:2] == [
        "gpt-4.1-mini",
        "gpt-4o-mini",
    ]
    assert data["evaluation"]["ceiling"]["beta"] == 0
    assert not providers.log("gpt-4.1")


@pytest.mark.timeout(240)
def test_the_command_takes_arms_of_the_users(command):
    done = command("--arm", "other=openai:gpt-4.1-nano", "--equal", "calls")
    assert re.search(r"^other +0\.0 % ", done.stdout, re.MULTILINE)
    assert "gpt-4.1-mini, vote of 3" in done.stdout


@pytest.mark.timeout(240)
def test_failures_are_told_and_asked_again(command, providers):
    providers.configure("gpt-4.1", Behaviour(chances=[(failure(400, "no"), 1.0)]))
    done = command("--ceiling")
    assert "failed" in done.stdout
    broken = command("--equal", "calls", code=1)
    assert "Stopped: gpt-4.1: 20 questions failed one after the other" in broken.stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--answers", "target"], "no right answer in the column 'target' (columns: answer)"),
        (["--score", "fuzzy"], "there is no scorer 'fuzzy'"),
        (["--cluster", "topic"], "there is no column 'topic'"),
        (["--arm", "other"], "say NAME=FILE or NAME=provider:model"),
    ],
)
def test_the_command_refuses_what_makes_no_sense_in_a_few_words(command, options, problem):
    assert problem in command(*options, code=2).stderr


class Judge(ScriptedLLM):
    """Says what a function of the two answers, or of the one, says."""

    def __init__(self, say: Any, model: str = "judge"):
        def reply(messages):
            found = re.findall(r"<answer-\S+>\n(.*?)\n</answer", messages[-1].content, re.DOTALL)
            return say(*found)

        super().__init__(reply, model=model)


def right(answer):
    return "answer is" in answer


def prefers_right(first, second):
    if right(first) == right(second):
        return "Better: tie"
    return "Better: A" if right(first) else "Better: B"


async def test_a_judge_compares_each_arm_with_the_mixture_in_both_orders(members, tmp_path):
    judge, settings = Judge(prefers_right), {"folder": tmp_path, "equal": None, "prices": PRICES}
    given = recipe(*members)
    evaluation = await aevaluate(given, QUESTIONS, "pairwise", judges=[judge], **settings)
    asked = len(judge.asked)
    assert asked == len({one.messages[-1].content for one in judge.asked}) <= 2 * 3 * len(QUESTIONS)
    rates = {rate.first: rate for rate in evaluation.win_rates}
    assert set(rates) == {"one", "two", "writer"}
    assert evaluation.arm("mixture").score == 0.5
    assert rates["one"].rate == evaluation.arm("one").score
    assert evaluation.judging.flips == 0
    assert evaluation.judging.unread == 0
    assert "one against mixture: win rate" in str(evaluation)
    again = await aevaluate(given, QUESTIONS, "pairwise", judges=[judge], **settings)
    assert again == evaluation
    assert len(judge.asked) == asked
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


async def test_a_judge_that_prefers_the_first_place_is_found_out_and_decides_nothing(members):
    judge = Judge(lambda *_: "Better: A")
    evaluation = await aevaluate(
        recipe(*members), QUESTIONS, "pairwise", judges=[judge], equal=None
    )
    assert (evaluation.judging.flips, evaluation.judging.first_place) == (1, 1)
    assert {rate.rate for rate in evaluation.win_rates} == {0.5}
    assert {pair.better for pair in evaluation.pairs} == {""}
    assert (
        "The order of the answers decided 100.0% of the pairs, to the first place in 100%"
        in str(evaluation)
    )


async def test_judges_rate_answers_and_what_cannot_be_read_is_counted_and_missing(members):
    strict = Judge(lambda answer: "Rating: 9" if right(answer) else "Rating: 1", "strict")
    vague = Judge(lambda answer: "Rating: 8" if right(answer) else "It is bad.", "vague")
    given = {"one": members[0], "two": members[1]}
    evaluation = await aevaluate(given, QUESTIONS, "rubric", judges=[strict, vague], prices=PRICES)
    assert evaluation.arm("one").score == pytest.approx((20 * 8.5 + 20 * 1) / 40)
    assert evaluation.judging.judgments == 2 * 2 * len(QUESTIONS)
    assert evaluation.judging.unread == 40
    assert evaluation.judging.judges == ("strict", "vague")
    assert "40 of 160 judgments could not be read" in str(evaluation)


@pytest.mark.parametrize(("scorer", "judged"), [("rubric", False), ("number", True)])
def test_judges_and_the_scorers_that_need_them_go_together(members, scorer, judged):
    judges = [Judge(prefers_right)] if judged else []
    with pytest.raises(EvaluationError, match="these need judges: give both"):
        evaluate(recipe(*members), QUESTIONS, scorer, judges=judges)


async def test_an_evaluation_that_is_stopped_ten_times_ends_with_the_same_numbers(
    members, tmp_path
):
    moments, running = {7, 31, 45, 60, 95, 130, 171, 200, 260, 333}, set()

    def stopping(llm, calls):
        def reply(messages):
            calls.append(messages)
            if len(calls) in moments:
                for task in running:
                    task.cancel()
            return llm.chat(messages).message

        return ScriptedLLM(reply, model=llm.model, usage=(100, 50))

    calls: list[Any] = []
    stopped = recipe(*(stopping(llm, calls) for llm in members))
    ends = []
    while not ends or ends[-1] is None:
        work = aevaluate(stopped, QUESTIONS, "number", folder=tmp_path, in_flight=3)
        running = {asyncio.ensure_future(work)}
        (task,) = running
        await asyncio.wait(running)
        ends.append(None if task.cancelled() else task.result())
    assert len(ends) == 11
    fresh = await aevaluate(recipe(*members), QUESTIONS, "number")
    assert [arm.score for arm in ends[-1].arms] == [arm.score for arm in fresh.arms]
    assert [arm.usd for arm in ends[-1].arms] == [arm.usd for arm in fresh.arms]
    assert ends[-1].pairs == fresh.pairs
    assert ends[-1].ceiling == fresh.ceiling


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--score", "pairwise"), "these need judges: give both (--score, --judge)"),
        (("--judge", "openai:gpt-4.1"), "these need judges: give both (--score, --judge)"),
        (("--score", "nummer"), "there is no scorer 'nummer'"),
        (("--score", "pairwize"), "or, with judges, rubric or pairwise; or none"),
        (("--write", "alpaca"), "write = 'alpaca': must be one of alpaca-eval, mt-bench"),
    ],
)
def test_a_mistake_in_the_command_is_refused_before_anything_is_asked(
    command, providers, options, words
):
    assert words in command(*options, code=2).stderr
    assert providers.log() == []


def test_the_command_writes_answers_that_nothing_scores(command, tmp_path):
    command("--score", "none", "--write", "alpaca-eval", "--out", "kept")
    (file, *_) = (tmp_path / "kept" / "alpaca-eval").glob("*.json")
    assert len(json.loads(file.read_text())) == len(QUESTIONS)
