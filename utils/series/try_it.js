"use strict";

// ListModel.scores of utils/model/list_model.py for one person, with its additions of float32 in its order, so that
// the list is Python's to the last place. `liked` are places in model.movies; the result is the best k others.
function recommend(model, liked, k) {
  const f = Math.fround, size = model.movies.length, likes = [...liked].sort((a, b) => a - b);
  const root = f(Math.sqrt(likes.length));
  const stranger = likes.length <= model.few, count = stranger ? likes.length : 1;
  const weights = stranger ? model.lift : model.ease;
  const pull = f(model.trend + (stranger ? model.most : f(model.prior / f(1 + f(likes.length / model.habit)))));
  const scored = model.movies.map(({ recent }, place) => {
    const ofAll = f(pull * (recent ?? 0));
    let known = 0, alike = 0, most = stranger ? 0 : ofAll, because = null;
    for (const like of likes) {
      const at = like * size + place, adds = weights[at] / count + model.alike[at] / root;
      known = f(known + weights[at]);
      alike += model.alike[at];
      if (adds > most) [most, because] = [adds, like];
    }
    return { place, because, score: f(f(alike / root) + f(f(known / count) + ofAll)) };
  });
  const open = scored.filter(({ place }) => !liked.includes(place));
  return open.sort((a, b) => b.score - a.score || a.place - b.place).slice(0, k);
}

function read(text) {
  const model = JSON.parse(text);
  for (const name of ["ease", "lift", "alike"]) {
    model[name] = new Float32Array(Uint8Array.from(atob(model[name]), (byte) => byte.charCodeAt(0)).buffer);
  }
  return model;
}

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

// Places of movies whose title has every word of `text`, those liked by most first.
function search(model, text, without) {
  const words = plain(text).split(/\s+/);
  const found = [...model.movies.keys()].filter((place) => {
    const title = plain(model.movies[place].title + " " + (model.movies[place].year ?? ""));
    return !without.includes(place) && words.every((word) => title.includes(word));
  });
  return found.sort((a, b) => model.movies[b].recent - model.movies[a].recent);
}

// The page. Titles are text from outside: they become text, never HTML.
function start() {
  const model = read(document.getElementById("model").textContent), liked = [];
  const [input, found, picked, shelf, said] =
    ["search", "found", "picked", "shelf", "said"].map((id) => document.getElementById(id));
  const named = ({ title, year }) => (year ? `${title} (${year})` : title);

  function element(kind, text, name) {
    const made = document.createElement(kind);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function button(text, place, action) {
    const made = element("button", text), item = document.createElement("li");
    made.type = "button";
    made.addEventListener("click", () => action(place));
    item.append(made);
    return item;
  }

  function card({ place, because }) {
    const movie = model.movies[place], item = document.createElement("li"), image = document.createElement("img");
    image.alt = "";
    if (movie.poster) image.src = `data:image/webp;base64,${movie.poster}`;
    const otherwise = movie.recent === null ? "for what it is about" : "because many like it";
    const why = because === null ? otherwise : `because you liked ${model.movies[because].title}`;
    item.append(movie.poster ? image : element("span", movie.genres.join(", "), "blank"));
    item.append(element("strong", named(movie)), element("span", why, "why"));
    if (movie.recent === null) item.append(element("span", "new: known by its content alone", "new"));
    return item;
  }

  function pick(place) {
    liked.push(place);
    input.value = "";
    show(`${named(model.movies[place])} is picked.`);
    input.focus();
  }

  function drop(place) {
    liked.splice(liked.indexOf(place), 1);
    show(`${named(model.movies[place])} is no longer picked.`);
    input.focus();
  }

  function show(message) {
    const places = search(model, input.value, liked);
    found.replaceChildren(...places.slice(0, 12).map((place) => button(named(model.movies[place]), place, pick)));
    picked.replaceChildren(...liked.map((place) => button(`${named(model.movies[place])} ✕`, place, drop)));
    for (const made of picked.querySelectorAll("button")) made.setAttribute("aria-label", `Remove ${made.textContent}`);
    shelf.replaceChildren(...(liked.length ? recommend(model, liked, 10).map(card) : []));
    document.body.classList.toggle("empty", !liked.length);
    said.textContent = message ?? (places.length ? `${places.length} movies found.` : "No movie on this page has that title.");
  }

  input.addEventListener("input", () => show());
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && found.firstChild) found.querySelector("button").click();
  });
  show("");
}

if (typeof document !== "undefined") start();
