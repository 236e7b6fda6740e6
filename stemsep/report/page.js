"use strict";
// Players whose sounds start at one time of one clock, so that they stay in time; solo and mute change
// gains alone. Without this script each sound has the browser's own player.

const LEAD_S = 0.05; // from the call to the first sample: time to hand all sounds over
const FADE_S = 0.008; // of a gain: no clicks
const PATIENCE_MS = 4000; // until it is said that the sound does not start
let context = null; // one for the page, made by the first click, as browsers ask for
let current = null; // the track that plays or was played last; the others hold no decoded sound

function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

class Lane {
  constructor(element, player) {
    this.element = element;
    this.solo = element.querySelector(".solo");
    this.mute = element.querySelector(".mute");
    this.gain = this.buffer = this.source = null;
    for (const button of [this.solo, this.mute]) {
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
        player.mix();
      });
    }
  }

  pressed(button) {
    return button.getAttribute("aria-pressed") === "true";
  }

  async load() {
    if (this.gain === null) {
      this.gain = context.createGain();
      this.gain.connect(context.destination);
    }
    const text = atob(this.element.querySelector("audio").getAttribute("src").split(",")[1]);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    this.buffer = await context.decodeAudioData(bytes.buffer);
  }

  start(at, offset) {
    this.source = context.createBufferSource();
    this.source.buffer = this.buffer;
    this.source.connect(this.gain);
    this.source.start(at, offset);
    this.started = { at, offset };
  }

  stop() {
    if (this.source) {
      this.source.stop();
      this.source.disconnect();
      this.source = null;
    }
  }
}

class Player {
  constructor(section) {
    this.section = section;
    this.seconds = Number(section.dataset.seconds);
    this.button = section.querySelector(".play");
    this.slider = section.querySelector(".seek");
    this.time = section.querySelector(".time");
    this.status = section.querySelector(".status");
    this.name = this.button.getAttribute("aria-label").replace(/^Play /, "");
    this.state = "paused"; // or "loading", "playing"
    this.position = 0; // where it stands, or where it started if it plays
    this.startedAt = 0; // time of the context
    this.lanes = [...section.querySelectorAll(".lane")].map((lane) => new Lane(lane, this));
    this.button.addEventListener("click", () => this.state === "paused" ? this.play() : this.pause());
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    for (const screen of section.querySelectorAll(".screen")) {
      screen.addEventListener("click", (event) => {
        const box = screen.getBoundingClientRect();
        this.seek(this.seconds * (event.clientX - box.left) / box.width);
      });
    }
    this.mix();
    this.show();
  }

  now() {
    if (this.state !== "playing") return this.position;
    const passed = Math.max(0, context.currentTime - this.startedAt);
    return Math.min(this.seconds, this.position + passed);
  }

  mix() {
    const alone = this.lanes.some((lane) => lane.pressed(lane.solo));
    for (const lane of this.lanes) {
      const audible = alone ? lane.pressed(lane.solo) : !lane.pressed(lane.mute);
      lane.element.toggleAttribute("data-audible", audible);
      if (lane.gain) lane.gain.gain.setTargetAtTime(audible ? 1 : 0, context.currentTime, FADE_S);
    }
  }

  async play() {
    if (current && current !== this) current.release();
    current = this;
    this.set("loading");
    this.status.textContent = "";
    const slow = setTimeout(() => { // without a device for sound a browser may wait forever
      if (this.state === "loading") this.status.textContent = "The sound does not start; is there a device to hear it with?";
    }, PATIENCE_MS);
    try {
      context = context || new (window.AudioContext || window.webkitAudioContext)();
      await Promise.all([context.resume(), ...this.lanes.filter((lane) => !lane.buffer).map((lane) => lane.load())]);
    } catch (error) {
      this.status.textContent = `This browser cannot play the sound (${error.message}).`;
      if (this.state === "loading") this.set("paused");
      return;
    } finally {
      clearTimeout(slow);
    }
    this.status.textContent = "";
    if (current !== this) this.release(); // another track was started meanwhile
    else if (this.state === "loading") this.start();
  }

  start() {
    this.mix();
    if (this.position >= this.seconds - 1e-3) this.position = 0;
    this.startedAt = context.currentTime + LEAD_S;
    for (const lane of this.lanes) lane.start(this.startedAt, this.position);
    const last = this.lanes[0].source;
    last.onended = () => { if (this.lanes[0].source === last) this.end(); };
    this.set("playing");
    this.tick();
  }

  pause() {
    this.position = this.now();
    for (const lane of this.lanes) lane.stop();
    this.set("paused");
  }

  end() {
    this.pause();
    this.position = 0;
    this.show();
  }

  seek(seconds) {
    const playing = this.state === "playing";
    if (playing) this.pause();
    this.position = Math.min(Math.max(seconds, 0), this.seconds);
    if (playing) this.start();
    this.show();
  }

  release() {
    this.pause();
    for (const lane of this.lanes) lane.buffer = null;
  }

  set(state) {
    this.state = state;
    this.button.dataset.state = state;
    this.button.setAttribute("aria-label", `${state === "paused" ? "Play" : "Pause"} ${this.name}`);
    this.show();
  }

  show() {
    const now = this.now();
    this.slider.value = now;
    this.slider.setAttribute("aria-valuetext", `${clock(now)} of ${clock(this.seconds)}`);
    this.time.textContent = `${clock(now)} / ${clock(this.seconds)}`;
    this.section.style.setProperty("--at", this.seconds ? now / this.seconds : 0);
  }

  tick() {
    if (this.state !== "playing") return;
    this.show();
    requestAnimationFrame(() => this.tick());
  }
}

// A table is sorted by a click on a heading, first with the highest score on top; dashes stay last.
function sortable(table) {
  const heads = [...table.querySelectorAll(".sorts")];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : column === 0;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value;
      const order = (a, b) => column === 0 ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        if (value(a) === undefined || value(b) === undefined) return (value(a) === undefined) - (value(b) === undefined);
        return (up ? 1 : -1) * order(value(a), value(b));
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// One measure's table at a time, where there are several.
function choosable(measures) {
  if (measures.length < 1) return;
  const choice = document.createElement("label");
  choice.className = "choice";
  const select = document.createElement("select");
  for (const measure of measures) select.append(new Option(`${measure.dataset.name}, dB`, measure.dataset.measure));
  choice.append("Measure", select);
  measures[0].before(choice);
  const show = () => measures.forEach((measure) => { measure.hidden = measure.dataset.measure !== select.value; });
  select.addEventListener("change", show);
  show();
}

document.documentElement.classList.add("js");
const players = [...document.querySelectorAll(".track")].map((section) => new Player(section));
document.querySelectorAll("table.tracks").forEach(sortable);
choosable([...document.querySelectorAll(".measure")]);
