"""`batch`: many short prompts with answers of one word, as when a table is labelled."""

from __future__ import annotations

from tokwatt_bench.scenarios.base import Ask, Listed, asked

LABELS = ("delivery", "payment", "defect", "praise", "question")
_RULE = f"Label the customer's message with exactly one of these words: {', '.join(LABELS)}. Answer with the word only."
_MESSAGES = (
    "The parcel was supposed to come on Tuesday, and today is Saturday.",
    "Your invoice has the wrong address, and I have paid it twice now.",
    "After two weeks the left wheel fell off while I was standing still.",
    "I have never had a lamp that was so easy to put up. Thank you!",
    "Does the blue one also exist with a longer cable?",
    "The courier left it in the rain in front of my neighbour's garage.",
    "My credit card was refused although there is money on the account.",
    "The display shows stripes as soon as it gets warm.",
    "Your colleague on the phone was patient and friendly. Please tell her.",
    "Can I wash the cover at sixty degrees?",
    "Nobody rang, but the tracking says that I was not at home.",
    "I sent it back a month ago and still wait for my money.",
    "The lid does not close, whichever way I turn it.",
    "Ordered in the evening, here in the morning: I am impressed.",
    "How long is the warranty if I use it in a workshop?",
    "Half of the order is missing and there is no note in the box.",
    "Why do you charge for shipping when I pick it up myself?",
    "It makes a clicking noise every three seconds, day and night.",
    "The second pair fits even better than the first one. Five stars.",
    "Is it possible to change the delivery address after ordering?",
    "The package was open and someone had taken the charger out.",
    "Please send me the receipt again, my tax adviser needs it.",
    "The battery lasts twenty minutes; it was six hours when it was new.",
    "My grandmother understood it without reading anything. Well done.",
)


class Batch(Listed):
    """Prefill and scheduling are all there is: an answer has a token or two."""

    name = "batch"
    description = "short messages to be labelled with one word each"
    listed = tuple(Ask(asked(f"{_RULE}\n\nMessage: {text}"), max_tokens=16, name="label") for text in _MESSAGES)
