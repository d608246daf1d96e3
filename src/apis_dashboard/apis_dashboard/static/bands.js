// The scenario over a day: what the unit does at which charge, and where the battery is now.
const COLOURS = { excess: 'c3', sufficient: 'c2', scarce: 'c1', short: 'c0' };
export default {
  template: `
  <section class="apis-card apis-bands">
    <h2>Scenario and battery</h2>
    <p v-if="!state.sections.length" class="empty">The scenario file cannot be read here.</p>
    <template v-else>
    <svg viewBox="0 0 480 208" role="img" :aria-label="'Bands of the scenario over a day; now ' + (state.now ? state.now.words : 'not known')">
      <g v-for="(s, i) in state.sections" :key="i">
        <g v-for="(b, k) in s.bands" :key="b.name">
          <rect :x="40 + 432 * s.from" :width="432 * (s.to - s.from) - 1" :y="180 - 170 * b.high" :height="170 * (b.high - b.low) - 1" :class="colour(b.name, k)" rx="2"/>
          <text v-if="s.to - s.from > 0.14 && b.high - b.low > 0.07" :x="46 + 432 * s.from" :y="180 - 170 * (b.high + b.low) / 2 + 4">{{ b.name }}</text>
        </g>
      </g>
      <g class="axis"><text v-for="p in [0, 50, 100]" :key="p" x="34" :y="184 - 1.7 * p" text-anchor="end">{{ p }} %</text>
        <text v-for="h in [0, 6, 12, 18, 24]" :key="h" :x="40 + 18 * h" y="200" :text-anchor="h === 0 ? 'start' : h === 24 ? 'end' : 'middle'">{{ h }}:00</text></g>
      <g v-if="state.now"><line :x1="40 + 432 * state.now.day" :x2="40 + 432 * state.now.day" y1="10" y2="180" class="now"/>
        <circle :cx="40 + 432 * state.now.day" :cy="180 - 170 * Math.min(state.now.soc, 1)" r="6" class="now-dot"/></g>
    </svg>
    <p class="note" v-if="state.now"><b>{{ state.now.words }}</b>: {{ state.rules.join('; ') }}</p>
    </template>
  </section>`,
  props: { state: Object, root: String },
  methods: {
    colour(name, k) {
      return COLOURS[name] || `c${Math.min(k, 3)}`;
    },
  },
};
