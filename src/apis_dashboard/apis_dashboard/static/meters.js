// What one unit's meters say: each group with its age, orders beside what was read.
export default {
  template: `
  <div class="apis-meters">
    <section v-for="(card, i) in state.cards" :key="i" class="apis-card"><template v-for="g in card" :key="g.name">
      <h2>{{ g.name }} <span class="age" :class="{stale: g.age.stale}">{{ g.age.text }}</span></h2>
      <dl :class="{stale: g.age.stale}"><div v-for="t in g.tiles" :key="t.name"><dt>{{ t.name }}</dt><dd>{{ t.value }}</dd><dd class="note">{{ t.note }}</dd></div></dl>
    </template></section>
    <section class="apis-card">
      <h2>Converter <span class="age" :class="{stale: state.converter.age.stale}">{{ state.converter.age.text }}</span></h2>
      <p class="word">{{ state.converter.word }}</p>
      <table class="apis-plain" :class="{stale: state.converter.age.stale}">
        <thead><tr><th><span class="hidden">Quantity</span></th><th class="num">ordered</th><th class="num">read</th></tr></thead>
        <tbody><tr v-for="r in state.converter.rows" :key="r.name"><th scope="row">{{ r.name }}</th><td class="num">{{ r.order || '·' }}</td><td class="num"><b>{{ r.reading }}</b></td></tr></tbody>
      </table>
      <p v-for="n in state.converter.notes" :key="n" class="note">{{ n }}</p>
    </section>
    <section class="apis-card">
      <h2>Health <span v-if="state.diagnostics.level" class="chip" :class="state.diagnostics.level === 'good' ? 'good' : 'bad'">{{ state.diagnostics.level }}</span></h2>
      <p class="word small">{{ state.diagnostics.message }}</p>
      <table class="apis-plain"><tbody><tr v-for="r in state.diagnostics.rows" :key="r[0]"><th scope="row">{{ r[0] }}</th><td class="num">{{ r[1] }}</td></tr></tbody></table>
    </section>
  </div>`,
  props: { state: Object, root: String },
};
