"""Concepts that are not searched for by default: obscene words and slurs.

A short list and no filter of content: it keeps a run from spending queries on vulgar names, and says nothing about what
an engine returns for others. Names in `VULGAR_NAMES` are blocked in every sense. Of other names, such as *cock* or
*queen*, only the sense is blocked that WordNet calls obscene, vulgar, disparaging or a slur, in its usage domains where
the files have them (the database has, the table has not) or in the definition.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vl_explorer.vocabulary.concepts import Concept

_NAMES = """
    arse, arsehole, asshole, bitch, blowjob, boob, boobs, bugger all, bullshit, chickenshit, cock sucking,
    cocksucker, crap, cum, cunnilingus, cunt, dago, dickhead, dildo, dogshit, erotica, faggot, fart, farting,
    fellatio, fuck, fuck all, fucker, fucking, gook, half-breed, half-caste, hand job, honky, horseshit, hymie,
    jacking off, jerking off, jigaboo, kike, masturbation, minge, mother fucker, motherfucker, nigga, nigger,
    nigra, nookie, nooky, nympho, orgasm, picaninny, piccaninny, pickaninny, piece of ass, piece of tail, piss,
    piss-up, pisser, pissing, poor white trash, porn, porno, pornography, putz, retard, sheeny, shit, shite,
    shithead, shitlist, shitter, shtup, skin flick, slant-eye, slut, sodomite, son of a bitch, spic, spick,
    spik, squaw, strumpet, the shits, titty, turd, twat, wank, wanker, wetback, white trash, whore, whoreson,
    wog, wop, yid
"""

VULGAR_NAMES = frozenset(" ".join(_NAMES.split()).split(", "))
"""Names in lower case."""

VULGAR_USAGES = frozenset({"obscenity", "ethnic slur", "disparagement"})
"""Usage domains of WordNet."""

_MARK = re.compile(
    r"\(ethnic slur\)"
    r"|\b(obscene|vulgar|offensive|disparaging|derogatory|insulting|pejorative)\b[^;:]*"
    r"\b(terms?|names?|words?|slang|expression|reference)\s+(for|of|used|to)\b"
    r"|\b(term|name|word)\b[^;:]*\b(regarded|considered) (as )?offensive\b"
    r"|^slang for (sexual intercourse|fellatio|masturbation)\b"
    r"|^terms of abuse\b"
)


def is_vulgar(concept: Concept) -> bool:
    """Tell if a concept is blocked by default.

    Example:
        >>> from vl_explorer.vocabulary.concepts import Concept
        >>> cock = Concept("cock", "n05526713:cock", "obscene terms for penis", "penis")
        >>> is_vulgar(cock), is_vulgar(Concept("cock", "n01514668:cock", "adult male bird", "bird"))
        (True, False)
    """
    return (
        concept.name.lower() in VULGAR_NAMES
        or not VULGAR_USAGES.isdisjoint(concept.usages)
        or _MARK.search(concept.definition) is not None
    )
