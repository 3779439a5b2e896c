"""The judges' instructions. A conversation and numbered responses follow each of them."""

RANK = (
    "You compare several responses to one conversation. Judge how correct, helpful, complete and clear each one is; "
    "neither the order in which they stand nor their length counts. Reply with JSON only, the numbers of all "
    'responses from best to worst: {"ranking": [...]}'
)
RATE = (
    "You rate one response to a conversation. Judge how correct, helpful, complete and clear it is, and be strict: "
    '0 is useless or wrong, 10 cannot be better. Reply with JSON only: {"rating": ...}'
)
VOTE = (
    "Several responses to one conversation differ in their words. Find out on which answer most of them agree in "
    "meaning, and which response states it best. Reply with JSON only, the number of that response: "
    '{"most_consistent": ...}'
)
PEER_RANKING = (
    "You are one of the members of a council. Each member has responded to the same conversation; here are all "
    "responses, without their authors. Judge how accurate and how insightful each one is. Reply with JSON only, the "
    'numbers of all responses from best to worst: {"ranking": [...]}'
)
PICK = (
    "You moderate a discussion in which several models respond to one conversation in rounds. Choose the best "
    "responses by correctness, fluency, relevance and quality; some may be biased or incorrect. Then decide whether "
    "the responses are so consistent that the discussion can end. Reply with JSON only, the numbers of the chosen "
    'responses and the decision: {"chosen": [...], "end": true or false}'
)
GATE = (
    "You decide whether a response to a conversation can be given to the user as it is. It can if the question is "
    "easy enough that you are sure: nothing in the response is wrong, nothing important is missing. When in doubt, it "
    'cannot. Reply with JSON only: {"good_enough": true or false}'
)
ANALYSIS = (
    "Several models have responded to one conversation. Compare their responses; do not merge them and do not answer "
    "the user. Reply with JSON only, an object of five lists of short sentences that name the responses by their "
    'numbers: "consensus", what all or most of them agree on; "contradictions", where they disagree, with each '
    'position; "partial_coverage", what only some of them cover; "unique_insights", what only one of them has seen; '
    '"blind_spots", what matters and none of them addresses.'
)
RESIDUALS = (
    "You compare two rounds of responses to one conversation. Say in short sentences what the latest round changes "
    "against the round before: what it adds, what it corrects, what it contradicts, what it has lost. Say nothing "
    "about wording or order, and do not answer the user. If nothing that matters has changed, reply with exactly: "
    "NO UPDATE"
)
