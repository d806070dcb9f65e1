"""Every crash point of the sources: the program that it kills, and what makes that program pass it. `ids` are those of GOALS 7 (C1 to C15)
that it stands for; C3 and C13 cannot exist: cursor and queue, link and acknowledgement are one transaction each.

How to pass it: load (changes of every kind), reconnect (the directory connection ends while people are deleted), session (the broker
is started again), store (Redis is started again), claim (an account is there already, made by somebody else)."""

import collections

Point = collections.namedtuple("Point", "program reach ids")

CRASH_POINTS = {
    "collector.read": Point("collector:corp", "load", "C1 C4"),
    "collector.surveyed": Point("collector:corp", "session", "C4"),
    "collector.read_all": Point("collector:corp", "reconnect", "C4"),
    "collector.refreshed": Point("collector:corp", "reconnect", "C4"),
    "collector.confirm": Point("collector:corp", "reconnect", "C4"),
    "collector.gone": Point("collector:corp", "load", "C1"),
    "collector.reread": Point("collector:corp", "load", "C1"),
    "collector.before_publish": Point("collector:corp", "load", "C1"),
    "collector.published": Point("collector:corp", "load", "C2"),
    "collector.before_cursor": Point("collector:corp", "load", "C1"),
    "collector.cursor_published": Point("collector:corp", "load", "C2"),
    "collector.committed": Point("collector:corp", "load", "C2"),
    "collector.full_page": Point("collector:corp", "load", "C2"),
    "collector.cursor_committed": Point("collector:corp", "load", "C2"),
    "broker.epoch_taken": Point("broker", "store", "C9"),
    "broker.rewrite_waited": Point("broker", "store", "C9"),
    "broker.loading": Point("broker", "store", "C9"),
    "broker.page_built": Point("broker", "load", "C5 C8"),
    "broker.page_sent": Point("broker", "load", "C5 C7"),
    "broker.page_written": Point("broker", "load", "C6 C7"),
    "broker.answers_sent": Point("broker", "load", "C6 C8"),
    "worker.task_received": Point("worker:app", "load", "C10"),
    "worker.noted_creating": Point("worker:m365", "load", "C10"),
    "worker.creating_known": Point("worker:app", "load", "C10"),
    "worker.noted_claim": Point("worker:app", "claim", "C10"),
    "worker.noted_partial": Point("worker:m365", "load", "C15"),
    "worker.before_request": Point("worker:m365", "load", "C11"),
    "worker.after_response": Point("worker:app", "load", "C12"),
    "worker.before_result": Point("worker:app", "load", "C12"),
    "worker.result_sent": Point("worker:m365", "load", "C12"),
}
