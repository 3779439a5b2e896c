"""Finds how many requests an endpoint takes at once. Pure: it receives what happened.

The idea is that of TCP's congestion control, and of adaptive concurrency limits in general: up while it goes well, down when
requests are refused (additive increase) or become slow (the gradient of the latency).
"""

FIRST = 4
"""The number to begin with."""
_FASTER = 1.5
"""The growth with each round of answers, until something goes wrong for the first time."""
_AFTER_REFUSAL, _AFTER_SLOWNESS = 150, 30
"""Answers until one more is tried. A refusal in so many requests is what that costs; a slow answer costs little."""
_SAMPLE = 50
"""A mean of fewer answers says little about the latency."""
_ENOUGH = 0.8
"""The part of a sample that must have its answers; the rest may be slow, or have failed."""
_SLOW = 1.5
"""A sample that takes this many times as long as usual is slow."""
_QUEUE = 1.15
"""The latency that is aimed at then, as a multiple of the usual one: a short line keeps all places busy."""
_UP, _DOWN = 0.01, 0.5
"""How far the usual latency moves towards a sample's that is higher, or lower."""


class Adaptive:
    """The number of requests that may be in flight to one endpoint.

    It grows by half with each round (as many answers as the limit) until the first refusal or slow sample. From then on
    each refusal takes one away, and two slow samples in a row take away what waits at the provider. One more is tried
    after a while; as long as that goes well, the next one is tried twice as soon.

    Samples are taken of requests in the order in which they were sent: the first answers to come are the short ones.

    Attributes:
        limit: the number now.
    """

    def __init__(self) -> None:
        self.limit = FIRST
        # Answers between two steps up; None until something went wrong.
        self._pause: int | None = None
        self._since = 0
        self._sent = 0
        self._usual: float | None = None
        self._is_slow = False  # in the last sample: the next one decides
        self._sample(0)

    def sent(self) -> int:
        """Count a request that was sent.

        Returns:
            Its number.
        """
        self._sent += 1
        return self._sent

    def answered(self, number: int, seconds: float, in_flight: int) -> None:
        """Record an answer.

        Args:
            number: the request's number.
            seconds: how long it took.
            in_flight: the requests in flight, this one included. If they are fewer than the limit, the limit is not what
                holds them up, and does not grow.
        """
        if self._first <= number < self._first + self._size:
            self._seconds += seconds
            self._answers += 1
            if self._answers >= _ENOUGH * self._size:
                self._end_sample()
        elif number > self._first + 4 * self._size:  # most of the sample failed
            self._sample(0)
        if in_flight < self.limit or self._is_slow:
            return
        self._since += 1
        if self._since >= (self.limit if self._pause is None else max(self.limit, self._pause)):
            self._grow()

    def refused(self) -> None:
        """Record a request that was refused because the endpoint has too many."""
        self._shrink(self.limit - 1, _AFTER_REFUSAL)

    def _grow(self) -> None:
        self._since = 0
        if self._pause is None:
            self.limit = round(self.limit * _FASTER)
        else:
            self.limit += 1
            self._pause //= 2

    def _shrink(self, limit: int, pause: int) -> None:
        self.limit, self._pause, self._since = max(1, limit), pause, 0
        self._is_slow = False
        self._sample(self.limit)  # the next requests still meet the line that there was

    def _sample(self, skipped: int) -> None:
        """Begin a new sample with the request after so many."""
        self._first, self._size = self._sent + 1 + skipped, max(_SAMPLE, self.limit)
        self._seconds, self._answers = 0.0, 0

    def _end_sample(self) -> None:
        mean = self._seconds / self._answers
        self._sample(0)
        self._usual = mean if self._usual is None else self._usual
        was_slow, self._is_slow = self._is_slow, mean > _SLOW * self._usual
        if self._is_slow and was_slow:
            # An endpoint with n places takes limit / n times as long.
            self._shrink(round(self.limit * _QUEUE * self._usual / mean), _AFTER_SLOWNESS)
        elif not self._is_slow:
            self._usual += (_UP if mean > self._usual else _DOWN) * (mean - self._usual)
