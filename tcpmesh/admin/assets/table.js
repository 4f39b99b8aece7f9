// A table whose rows come and go: cells change only where their text does, and while somebody
// points at it or is in it with the keyboard no row moves away.

import { el, plural, say } from "./dom.js";

/** Rows that are shown at first, fewer where each is a card; the others are a button away. */
const few = () => (window.innerWidth > 900 ? 20 : 8);

export class LiveTable {
  /**
   * `columns`: for each its title, `make(row)`, which gives a text or [text, second line], and
   * where they fit `sort` (the field), `kind` (classes of the cell), `node(row)` in place of
   * `make`.  `key(row)` tells rows apart.
   */
  constructor(root, caption, columns, key, empty, onSort = null) {
    this.root = root;
    this.columns = columns;
    this.key = key;
    this.empty = empty;
    this.onSort = onSort;
    this.rows = new Map();
    this.waiting = null;
    this.body = el("tbody", { role: "rowgroup" });
    this.heads = columns.map((column) => this.head(column));
    this.table = el(
      "table",
      { class: "grid-table", role: "table" },
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...this.heads)),
      this.body,
    );
    this.frame = el(
      "div",
      {
        class: "scroll",
        tabindex: "0",
        role: "region",
        "aria-label": caption,
        mouseleave: () => this.settle(),
        focusout: () => setTimeout(() => this.settle(), 0),
      },
      this.table,
    );
    this.note = el("p", { class: "empty" });
    this.all = false;
    this.more = el("button", { type: "button", class: "unfold", click: () => this.unfold() });
    root.replaceChildren(...(onSort ? [this.chooser()] : []), this.frame, this.more, this.note);
    this.show([]);
  }

  head(column) {
    const classes = column.kind?.includes("number") ? "number" : null;
    if (!column.sort || !this.onSort) {
      const text = column.title || el("span", { class: "visually-hidden" }, "Actions");
      return el("th", { scope: "col", role: "columnheader", class: classes }, text);
    }
    return el(
      "th",
      { scope: "col", role: "columnheader", class: classes, "data-sort": column.sort },
      el(
        "button",
        { type: "button", click: () => this.onSort(column.sort) },
        column.title,
        el("span", { class: "arrow", "aria-hidden": "true" }),
      ),
    );
  }

  /** Where rows are cards there are no titles to click on. */
  chooser() {
    const options = this.columns
      .filter((column) => column.sort)
      .map((column) => el("option", { value: column.sort }, column.title));
    this.choice = el("select", { change: () => this.onSort(this.choice.value) }, ...options);
    return el("label", { class: "sorting" }, "Sort by ", this.choice);
  }

  sorted(field, descending) {
    if (this.choice) this.choice.value = field;
    for (const head of this.heads) {
      if (!head.dataset.sort) continue;
      const is = head.dataset.sort === field;
      if (is) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      say(head.querySelector(".arrow"), is ? (descending ? " \u2193" : " \u2191") : "");
    }
  }

  unfold() {
    this.all = !this.all;
    this.show(this.given, true);
  }

  get held() {
    return this.frame.matches(":hover") || this.body.contains(document.activeElement);
  }

  /** `anew`: these are the rows of another question, so nothing is held. */
  show(given, anew = false) {
    this.given = given;
    if (this.held && !anew && this.rows.size) {
      this.waiting = given;
      this.update(given);
      return;
    }
    const rows = this.all ? given : given.slice(0, few());
    this.waiting = null;
    const before = this.rows;
    this.rows = new Map();
    const nodes = rows.map((row) => {
      const key = this.key(row);
      const entry = before.get(key) ?? this.entry();
      this.rows.set(key, entry);
      this.fill(entry, row);
      return entry.node;
    });
    if (
      nodes.length !== this.body.children.length ||
      nodes.some((node, index) => node !== this.body.children[index])
    ) {
      this.body.replaceChildren(...nodes);
    }
    this.more.hidden = given.length <= few();
    this.more.setAttribute("aria-expanded", String(this.all));
    say(
      this.more,
      this.all ? "Show fewer rows" : `Show ${plural(given.length - few(), "more row")}`,
    );
    this.frame.hidden = !rows.length;
    this.note.hidden = rows.length > 0;
    if (!rows.length) say(this.note, this.empty());
  }

  /** The same rows, with what is known by now; those that are no more are marked. */
  update(rows) {
    const now = new Map(rows.map((row) => [this.key(row), row]));
    for (const [key, entry] of this.rows) {
      const row = now.get(key);
      entry.node.classList.toggle("gone", row === undefined);
      for (const button of entry.node.querySelectorAll("button"))
        button.disabled = row === undefined;
      if (row !== undefined) this.fill(entry, row);
    }
  }

  settle() {
    if (this.waiting !== null && !this.held) this.show(this.waiting);
  }

  entry() {
    const cells = this.columns.map((column) => {
      const first = el("span", { class: column.first });
      const second = el("span", { class: "second" });
      const cell = el("td", {
        role: "cell",
        class: column.kind,
        "data-label": column.title || null,
      });
      if (column.node === undefined) cell.append(first, second);
      return { cell, first, second, text: null };
    });
    return { node: el("tr", { role: "row" }, ...cells.map(({ cell }) => cell)), cells };
  }

  fill(entry, row) {
    entry.node.classList.remove("gone");
    this.columns.forEach((column, index) => {
      const { cell, first, second } = entry.cells[index];
      if (column.node !== undefined) {
        const text = column.text(row);
        if (entry.cells[index].text !== text) {
          entry.cells[index].text = text;
          cell.replaceChildren(column.node(row));
        }
        return;
      }
      const made = column.make(row);
      const [one, two] = Array.isArray(made) ? made : [made, ""];
      say(first, one);
      say(second, two);
      second.hidden = !two;
    });
  }
}
