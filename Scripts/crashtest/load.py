"""Clients on one gateway, whatever happens to it, and the comparison with the broker's log at the end."""

import time

from crashtest import checker, clients, ledger, repeating
from crashtest.gateway import Failed

PRODUCERS = 6
CONSUMERS_PER_TOPIC = 2
DRAIN_SECONDS_MAX = 120
# Once nothing is under way.
SETTLE_SECONDS_MAX = 5
# Without a record that is new.
READ_STALL_SECONDS_MAX = 60
READER = "reader-of-everything"


class Load:
    def __init__(self, server, broker, chance, say, retry=None, witness=None):
        """say: takes a line for people. retry: one of `repeating.NAMES`; None: no request is repeated. witness: is
        told of every answer under load."""
        self.server = server
        self.book = ledger.Ledger()
        self._broker = broker
        self._chance = chance
        self._say = say
        self._retry = retry
        self._witness = witness
        self._running = []

    def start(self):
        """The clients wait until the gateway is up, now and after each of its deaths."""
        seed = self._chance.getrandbits
        topics = self._broker.topics
        self._running = [self._producer(seed(64), number, topics) for number in range(PRODUCERS)]
        for number, topic in enumerate(topics * CONSUMERS_PER_TOPIC):
            consumer = consumer_of(topic)
            self._running.append(clients.Consumer(self.server, self.book, seed(64), number, consumer, topic))
        for client in self._running:
            client.witness = self._witness
            client.start()

    def join(self, client):
        """One more, which is started here, checked with the others, and ends with them."""
        self._running.append(client)
        client.start()

    def _producer(self, seed, number, topics):
        if self._retry is None:
            return clients.Producer(self.server, self.book, seed, number, topics)
        return repeating.RepeatingProducer(self.server, self.book, seed, number, topics, self._retry)

    def check(self):
        """A client that died would let the test pass idly."""
        for client in self._running:
            if client.failure is not None:
                raise Failed(f"{client.name}: {client.failure!r}")

    def _producers(self):
        return [client for client in self._running if isinstance(client, clients.Producer)]

    @property
    def sent(self):
        """Records, by all producers."""
        return sum(producer.sequence for producer in self._producers())

    @property
    def repeats(self):
        """Tries after the first ones, by all producers."""
        return sum(producer.repeats for producer in self._producers())

    @property
    def replays(self):
        """Answers that said that the request had been accepted before."""
        return sum(producer.replays for producer in self._producers())

    @property
    def refusals(self):
        """What producers were answered beside 2xx, and requests without an answer; those of each in their order."""
        return [refusal for producer in self._producers() for refusal in producer.refusals]

    def finish(self, directory, seconds, power_losses=()):
        """Starts the gateway, which nobody hurts any more, gives it `seconds` under load, lets it deliver everything
        and stops it. Returns the comparison. power_losses: see `checker.check`."""
        self.server.start()
        self.server.wait_until_ready()
        time.sleep(seconds)
        self._stop(clients.Producer)
        unsettled = self._drain()
        self._stop(clients.Client)
        self.check()
        reader = READER + self._broker.suffix
        if not clients.Reader(self.server, self.book, reader, self._broker.topics).read_everything(
            READ_STALL_SECONDS_MAX
        ):
            unsettled.append(f"not everything was handed out, and nothing more for {READ_STALL_SECONDS_MAX} s")
        self.server.stop()
        log, committed = self._broker.read(directory, self._consumers() + [reader])
        sent, consumed = self.book.sent(), self.book.consumed()
        result = checker.check(sent, log, committed, consumed, power_losses)
        result.unsettled = unsettled
        self._say(
            f"{len(sent)} records sent, {len(log)} in the log, {result.polled} handed out, "
            f"{result.commits} partitions with a commit, {len(consumed.answered)} with an answered one, "
            f"{len(consumed.read)} read at the end"
        )
        return result

    def clean_up(self):
        """What the run made outside of its directory goes."""
        self._broker.clean_up(self.server, self._consumers() + [READER + self._broker.suffix])

    def abandon(self):
        """Whatever happened: leaves no process behind."""
        for client in self._running:
            client.stopping.set()
        self.server.abandon()

    def _consumers(self):
        return [consumer_of(topic) for topic in self._broker.topics]

    def _stop(self, kind):
        stopped = [client for client in self._running if isinstance(client, kind)]
        for client in stopped:
            client.stopping.set()
        for client in stopped:
            client.join(clients.REQUEST_SECONDS_MAX + repeating.LAST_TRIES_SECONDS_MAX + 10)
            if client.is_alive():
                raise Failed(f"{client.name} does not end")

    def _drain(self):
        """Returns what is still under way at the end, in words: each is a failure, after the comparison."""
        if not wait_for(self.server.is_drained, DRAIN_SECONDS_MAX):
            behind = {lane: lag for lane, lag in self.server.lags().items() if lag}
            return [f"not everything was delivered after {DRAIN_SECONDS_MAX} s; records by lane: {behind}"]
        unsettled = self.book.last_receipts()

        def are_settled():
            unsettled[:] = self.server.unsettled(unsettled)
            return not unsettled

        wait_for(are_settled, SETTLE_SECONDS_MAX)
        return [f"receipt {receipt} does not say what became of its record" for receipt in unsettled]


def consumer_of(topic):
    return f"reader-of-{topic}"


def wait_for(condition, seconds_max):
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
