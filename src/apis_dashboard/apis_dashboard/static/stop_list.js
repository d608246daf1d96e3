// What each unit has made of an emergency stop.
export default {
  template: `
  <div class="apis-stop-list" v-if="state.given" role="status">
    <p><b>{{ state.open ? state.open + ' of ' + state.units.length + ' still to confirm' : 'All ' + state.units.length + ' have stopped' }}</b> <small>ordered by {{ state.who }}</small></p>
    <ul><li v-for="u in state.units" :key="u.id" :class="{ok: u.off && u.followed}">
      <span aria-hidden="true">{{ u.off && u.followed ? '✓' : u.off ? '◐' : '○' }}</span> <b>{{ u.id }}</b> <small>{{ u.words }}{{ u.reply && u.reply !== 'off' ? ' · ' + u.reply : '' }}</small></li></ul>
  </div>`,
  props: { state: Object, root: String },
};
