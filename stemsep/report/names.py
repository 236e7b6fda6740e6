"""What people call measures and methods."""

MEASURES = {    # key in scores.json -> name, what it is
    "sdr": ("SDR", "signal-to-distortion ratio of a whole track, 10·log₁₀(Σs² / Σ(s − ŝ)²)"),
    "si_sdr": ("SI-SDR", "scale-invariant SDR (Le Roux et al. 2019)"),
    "bss_sdr": ("SDR (BSS Eval)", "source-to-distortion ratio of BSS Eval, median over the frames "
                                  "of a track"),
    "bss_isr": ("ISR (BSS Eval)", "source image-to-spatial-distortion ratio"),
    "bss_sir": ("SIR (BSS Eval)", "source-to-interference ratio"),
    "bss_sar": ("SAR (BSS Eval)", "source-to-artefacts ratio"),
}
METHODS = {
    "model": ("model", "the separator that is scored"),
    "mixture": ("mixture", "the mixture itself as every target's estimate: the score of doing "
                           "nothing"),
    "hpss": ("HPSS", "harmonic-percussive split by median filters (Fitzgerald 2010)"),
    "irm": ("ratio mask", "ideal ratio mask, computed from the true stems: a bound for masks, not "
                          "a method"),
}


def measure(key: str) -> str:
    """Return the name of a measure."""
    return MEASURES[key][0] if key in MEASURES else key.replace("_", " ").upper()


def method(key: str) -> str:
    """Return the name of a method."""
    return METHODS[key][0] if key in METHODS else key
