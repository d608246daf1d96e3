// Numbers in one row.
export default {
  template: `
  <dl class="apis-tiles">
    <div v-for="t in state.tiles" :key="t.name" class="apis-card">
      <dt>{{ t.name }}</dt><dd>{{ t.value }}</dd><dd class="note">{{ t.note }}</dd>
    </div>
  </dl>`,
  props: { state: Object, root: String },
};
