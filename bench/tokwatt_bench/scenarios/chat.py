"""`chat`: conversations of several turns, each turn with all that was said before it."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_bench.scenarios.base import Ask, Messages, Scenario, asked, shuffled

_SYSTEM = "You are a helpful assistant. Answer in the user's language, to the point, and say when you are not sure."

#: Questions and answers by turns; a question ends each.
_DIALOGUES = (
    (
        "I want to grow tomatoes on a balcony that gets sun only in the afternoon. Is that enough?",
        "Five hours of direct sun are about the least for tomatoes. Choose small varieties, such as cherry tomatoes: "
        "they ripen with less light. A pot of ten litres or more for each plant keeps the soil from drying out.",
        "Good, I have four pots of twelve litres. How often do I have to water them, and what do I feed them?",
        "In summer water them every day, in the morning, until some of it runs out at the bottom; feel the soil first "
        "when it was cool. From the first flowers on, give a liquid fertiliser for tomatoes once a week.",
        "The lower leaves of one plant have turned yellow. What could it be, and what should I try first?",
    ),
    (
        "My train was cancelled and the next one came two hours later. What am I entitled to?",
        "In the European Union a delay of 60 to 119 minutes gives you 25 % of the fare, and from 120 minutes on 50 %. "
        "You may also give up the journey and have the whole fare back if you expect to be an hour late.",
        "It was a ticket for 84 euros there and back, and only the way back was late by 125 minutes. How much is it?",
        "With a return ticket half of the fare counts for each way, so 42 euros; half of that is 21 euros.",
        "Please write the letter to the railway company for me, polite but firm, with places for the dates.",
    ),
    (
        "Explain to me what inflation is, as if I were twelve.",
        "Imagine that all of your class gets twice the pocket money, but the kiosk has as many ice creams as before. "
        "Soon an ice cream costs more, for everyone can pay more. When nearly everything becomes dearer, that is "
        "inflation: the same coin buys less than last year.",
        "Then why does the government not simply forbid higher prices?",
    ),
    (
        "I have to give a speech at my sister's wedding and I am terribly nervous.",
        "That is how most people feel. Keep it to three minutes: one story about the two of you, one sentence about "
        "what her husband changed in her life, one wish. Learn the first and the last sentence by heart.",
        "The story could be how we built a raft and sank in the village pond. How do I get from there to the wedding?",
        "By what she did when you sank: if she laughed and said you would build a better one, that is your bridge. "
        "A marriage is a raft, too, and she has found someone who holds the other end of the rope.",
        "Nice! Write the whole speech, about 300 words, warm and with a little humour.",
    ),
    (
        "Kannst du mir erklären, worin sich eine Wärmepumpe von einer Gasheizung unterscheidet?",
        "Eine Gasheizung verbrennt Gas und gibt die Wärme weiter. Eine Wärmepumpe erzeugt selbst keine Wärme: Sie hebt "
        "Wärme aus Luft oder Erde mit Strom auf ein höheres Niveau und liefert drei- bis viermal so viel davon.",
        "Mein Haus ist von 1978 und hat kleine Heizkörper. Lohnt sich das überhaupt?",
        "Oft ja, wenn 55 Grad im Vorlauf reichen. Stell die jetzige Heizung an einem kalten Tag auf 55 Grad: Werden "
        "alle Räume warm, passt es. Sonst helfen oft zwei oder drei größere Heizkörper.",
        "Welche Fragen soll ich dem Installateur stellen? Schreib mir eine Liste mit kurzer Begründung.",
    ),
    (
        "I read that the moon is moving away from us. Is that true?",
        "Yes, by about 3.8 centimetres a year. The tides that it raises run a little ahead of it, pull it forward and "
        "lift its orbit; in return the Earth turns more slowly, by some milliseconds in a thousand years.",
        "How do we know it so exactly?",
        "Astronauts left mirrors there. Lasers are fired at them, and the time until the light is back, about 2.5 "
        "seconds, gives the distance to a few millimetres.",
        "And what will that mean for eclipses in the far future? Take me through the argument step by step.",
    ),
    (
        "We are five people and want to share a flat. What should the contract between us settle?",
        "Rent and deposit of each room, who pays the landlord, notice between you, how a new person is chosen, and "
        "what happens to shared furniture. Cleaning and guests are better kept in a list that can change.",
        "Two rooms are much smaller. How do we divide 1,850 euros fairly? The rooms have 22, 18, 16, 11 and 9 m².",
    ),
    (
        "Suggest a plan for four days in a city that none of us knows, with a grandmother who walks slowly.",
        "One thing in the morning and one in the afternoon, a long lunch between them, and never more than fifteen "
        "minutes on foot at a time. A boat or a tram with seats shows a lot of a town without a step.",
        "We land on Friday at 11 and leave on Monday at 18. One of us wants a museum, one a market, one good bread.",
        "Friday: the market hall near the hotel and an early evening. Saturday: museum, then a boat. Sunday: a park "
        "and a bakery. Monday: what was missed, luggage at the hotel until four.",
        "Now turn it into a table with times, and leave a plan B for rain on each day.",
    ),
)  # fmt: skip


class Chat(Scenario):
    """Prompts grow from turn to turn, as they do when people talk; what the assistant said before is fixed."""

    name = "chat"
    description = "conversations of two to three turns with all that was said before, mostly in English"

    def asks(self, seed: int) -> Iterator[Ask]:
        """Conversation by conversation, turn by turn."""
        for dialogue in shuffled(_DIALOGUES, seed):
            for turn in range(1, len(dialogue) + 1, 2):
                yield Ask(_until(dialogue, turn), name=f"turn {turn // 2 + 1}")


def _until(dialogue: tuple[str, ...], turn: int) -> Messages:
    return asked(*dialogue[:turn], system=_SYSTEM)
