"""A demonstration task of two errands: done in the order told, in the reverse one, or at once.

The same "before", "after", "first" and "until" serve both orders: the answer hangs on where in
the sentence they stand and on what they join.
"""

import random
from collections.abc import Mapping

from osd_edge.exporters.demo.recipe import DemoTask, Recipe

# Each as an order and as its "-ing" form.
_ERRANDS = (
    ("buy the bread", "buying the bread"),
    ("call the plumber", "calling the plumber"),
    ("send the contract", "sending the contract"),
    ("pick up the kids", "picking up the kids"),
    ("walk the dog", "walking the dog"),
    ("book the hotel", "booking the hotel"),
    ("charge the car", "charging the car"),
    ("clean the kitchen", "cleaning the kitchen"),
    ("water the plants", "watering the plants"),
    ("pay the invoice", "paying the invoice"),
    ("print the forms", "printing the forms"),
    ("visit the bank", "visiting the bank"),
    ("fix the bike", "fixing the bike"),
    ("answer the landlord", "answering the landlord"),
    ("feed the cat", "feeding the cat"),
    ("order the cake", "ordering the cake"),
    ("take out the trash", "taking out the trash"),
    ("sign the papers", "signing the papers"),
    ("invite the neighbours", "inviting the neighbours"),
    ("set up the tent", "setting up the tent"),
)


def _words(rng: random.Random) -> Mapping[str, str]:
    (one, one_ing), (two, two_ing) = rng.sample(_ERRANDS, 2)
    return {"a": one, "a_ing": one_ing, "b": two, "b_ing": two_ing}


_SEEN = {
    "as told": (
        "{a} before you {b}",
        "{a} before {b_ing}",
        "after you {a}, {b}",
        "after {a_ing}, please {b}",
        "first {a}, then {b}",
        "{a} first, {b} after that",
        "{a} and then {b}",
        "once you are done {a_ing}, {b}",
        "when you have finished {a_ing}, you can {b}",
        "start with {a_ing}, {b} later",
        "{a}, and only afterwards {b}",
        "begin by {a_ing} and end by {b_ing}",
        "{a_ing} comes before {b_ing}",
        "you need to {a} before you can {b}",
        "as soon as you are done {a_ing}, {b}",
        "you can {b} only after that: {a} first",
        "please {a}, next {b}",
        "{a} now and {b} later",
        "{a_ing} is first, {b_ing} is second",
        "{a}, followed by {b_ing}",
        "{a_ing} has to happen earlier than {b_ing}",
        "until you {a}, don't {b}",
        "don't forget to {a} before you {b}",
    ),
    "reversed": (
        "{a} after you {b}",
        "{a} after {b_ing}",
        "before you {a}, {b}",
        "before {a_ing}, please {b}",
        "{a}, but first {b}",
        "{a} last, {b} before that",
        "{a}, but {b} first",
        "{a} once you are done {b_ing}",
        "you can {a} when you have finished {b_ing}",
        "{a} later, start with {b_ing}",
        "{a}, but only after {b_ing}",
        "end by {a_ing} and begin by {b_ing}",
        "{a_ing} comes after {b_ing}",
        "you can't {a} before you {b}",
        "{a} as soon as you are done {b_ing}",
        "don't {a} until you {b}",
        "{a} later and {b} now",
        "{a_ing} is second, {b_ing} is first",
        "don't {a} first, {b}",
        "{a}, preceded by {b_ing}",
        "{a_ing} has to happen later than {b_ing}",
        "wait with {a_ing} until you {b}",
        "don't forget that before you {a} you have to {b}",
    ),
    "together": (
        "{a} while you {b}",
        "{a} while {b_ing}",
        "while you {a}, {b}",
        "while {a_ing}, please {b}",
        "{a} and {b} at the same time",
        "{a} and at the same time {b}",
        "when you are at it, {a} and {b} in one go",
        "{a_ing} and {b_ing} can be done at once",
        "you can {a} and {b} in parallel",
        "{a}, not before or after but while you {b}",
        "{a}, and during that {b}",
        "during {a_ing}, {b}",
        "don't wait until you are done {a_ing}, {b} meanwhile",
        "{a} together with {b_ing}",
        "there is no first and second, {a} and {b} together",
        "as you {a}, also {b}",
        "at the same time as {a_ing}, please {b}",
        "{a_ing} goes together with {b_ing}",
        "one of you can {a} while the other can {b}",
        "{a} and {b} simultaneously",
        "in the meantime, as you {a}, {b}",
        "{a_ing} happens at the same time as {b_ing}",
    ),
}

_HELD_OUT = {
    "as told": (
        "you have to {a} before {b_ing}",
        "only once you are finished {a_ing} should you {b}",
        "{a}, and when that is done, {b}",
        "{a_ing} is the first thing, after that {b}",
        "after you are done {a_ing}, start {b_ing}",
        "make sure to {a} earlier than you {b}",
        "as long as you have to {a}, wait with {b_ing}",
    ),
    "reversed": (
        "you have to {a} after {b_ing}",
        "only {a} once you are finished {b_ing}",
        "{a}, but when you do, {b_ing} has to be done",
        "{a_ing} is the last thing, before that {b}",
        "before you start {a_ing}, be done {b_ing}",
        "make sure to {a} later than you {b}",
        "wait with {a_ing} as long as you have to {b}",
    ),
    "together": (
        "you have to {a} during {b_ing}",
        "{a} meanwhile, as you {b}",
        "both at once please: {a} and {b}",
        "while you are busy {a_ing}, {b}",
        "make sure to {a} at the same time as you {b}",
        "{a_ing} and {b_ing} should happen simultaneously",
        "{a} in parallel with {b_ing}",
    ),
}

RECIPE = Recipe(
    task=DemoTask("errands", "In which order?", tuple(_SEEN)),
    seen=_SEEN,
    held_out=_HELD_OUT,
    words=_words,
    openers=("Hi,", "For tomorrow:", "Hey,", "Please note:", "Good morning,", "Small request:"),
)
